import { isColoured, paintFor, type Terminal } from '../terminal.ts';
import { Markdown } from './markdown.ts';

/** Where a person reads. */
export interface Page {
  begin(): void;
  end(): void;
  prose(text: string): void;
  /** A line of its own, or several. */
  line(text: string): void;
}

/** As often as an eye can tell. */
const FRAME_MS = 80;
/** A shorter wait needs no sign. */
const SPINNER_AFTER_MS = 300;
const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

const DEFAULT_SIZE = { columns: 80, rows: 24 };
/** A line that is replaced later must not become two. */
const WRAP = { off: '\u001b[?7l', on: '\u001b[?7h' };
const CLEAR_BELOW = '\u001b[J';

/** Output on a terminal: final lines, and below them those that may change. */
export class LivePage implements Page {
  readonly #terminal: Terminal;
  readonly #markdown: Markdown;
  #shown: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #drawnAtMs = 0;
  #quietSinceMs = 0;
  #isStale = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#markdown = new Markdown({ paint: paintFor(terminal), isColoured: isColoured(terminal) });
  }

  begin(): void {
    this.#quietSinceMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), FRAME_MS);
  }

  prose(text: string): void {
    this.#markdown.push(text);
    this.#quietSinceMs = performance.now();
    this.#isStale = true;
    if (this.#quietSinceMs - this.#drawnAtMs >= FRAME_MS) this.#draw();
  }

  line(text: string): void {
    this.#quietSinceMs = performance.now();
    this.#replace([...this.#markdown.end(this.#columns), ...text.split('\n')], []);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#replace(this.#markdown.end(this.#columns), []);
  }

  get #columns(): number {
    return this.#terminal.stdout.columns || DEFAULT_SIZE.columns;
  }

  #tick(): void {
    const quietMs = performance.now() - this.#quietSinceMs;
    if (this.#isStale) this.#draw();
    else if (quietMs >= SPINNER_AFTER_MS) this.#spin(Math.floor(quietMs / FRAME_MS));
  }

  #draw(): void {
    this.#isStale = false;
    const final = this.#markdown.take(this.#columns);
    this.#replace(final, this.#markdown.open);
    this.#drawnAtMs = performance.now();
  }

  #spin(frame: number): void {
    const sign = paintFor(this.#terminal)('dim', SPINNER[frame % SPINNER.length] ?? '');
    this.#replace([], [...this.#markdown.open, sign]);
  }

  #replace(final: readonly string[], live: readonly string[]): void {
    const { stdout } = this.#terminal;
    const rows = stdout.rows || DEFAULT_SIZE.rows;
    // What has left the screen could not be replaced.
    const shown = live.slice(-(rows - 1));
    const up = this.#shown.length - 1;
    const erase =
      this.#shown.length === 0 ? '' : `\r${up > 0 ? `\u001b[${up}A` : ''}${CLEAR_BELOW}`;
    const kept = final.map((line) => `${line}\n`).join('');
    const open = shown.length === 0 ? '' : `${WRAP.off}${shown.join('\n')}${WRAP.on}`;
    this.#shown = shown;
    if (erase + kept + open !== '') stdout.write(erase + kept + open);
  }
}
