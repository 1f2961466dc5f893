import { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { foreignText } from '@zerolatency/redaction';
import type { Terminal } from '../terminal.ts';

/** Bracketed paste: the terminal marks where a paste begins and ends. */
export const PASTE_MARKS = { on: '\u001b[?2004h', off: '\u001b[?2004l' } as const;
const PASTE_BEGINS = '\u001b[200~';
const PASTE_ENDS = '\u001b[201~';
const CTRL_C = '\u0003';
const CTRL_Z = '\u001a';
const ENTER = /\r\n?|\n/;

/** More than a host takes as one message, so that a shortened one is refused. */
const MAX_HELD_CHARS = 1024 * 1024;

/**
 * The keys for readline while it shows its prompt: what is typed during a turn
 * waits for the next one, as in a shell. Of a paste readline gets only the mark
 * where it begins, because it takes each line end for Enter.
 */
export class Keyboard extends Readable {
  readonly isTTY = true;
  readonly #source: Terminal['stdin'];
  readonly #onInterrupt: () => void;
  readonly #decoder = new StringDecoder('utf8');
  #isOpen = false;
  #held = '';
  #pastes: readonly string[] = [];
  /** The text of a paste whose end has not arrived. */
  #pasting: string | undefined;
  /** A mark that is split over two reads. */
  #unread = '';

  constructor(source: Terminal['stdin'], onInterrupt: () => void) {
    super({ read() {} });
    this.#source = source;
    this.#onInterrupt = onInterrupt;
    source.on('data', this.#onData);
    source.once('end', () => this.push(null));
    source.once('error', (error) => this.destroy(error));
  }

  setRawMode(isRaw: boolean): this {
    this.#source.setRawMode?.(isRaw);
    return this;
  }

  /** Lets keys through until readline has a line. */
  open(): void {
    this.#isOpen = true;
    this.#deliver();
  }

  hold(): void {
    this.#isOpen = false;
  }

  /** The text of the next paste that readline was told of. */
  nextPaste(): string {
    const [first = '', ...rest] = this.#pastes;
    this.#pastes = rest;
    return first;
  }

  close(): void {
    this.#source.off('data', this.#onData);
    this.#source.pause();
  }

  readonly #onData = (chunk: Buffer) => {
    const keys = this.#decoder.write(chunk);
    // A paste that never ends must not take Ctrl-C with it.
    if (keys === CTRL_C && this.#pasting !== undefined) this.#interrupt();
    else this.#read(this.#unread + keys);
    this.#deliver();
  };

  #read(keys: string): void {
    let rest = keys;
    for (;;) {
      const mark = this.#pasting === undefined ? PASTE_BEGINS : PASTE_ENDS;
      const at = rest.indexOf(mark);
      const end = at === -1 ? rest.length - overlap(rest, mark) : at;
      this.#take(rest.slice(0, end));
      if (at === -1) {
        this.#unread = rest.slice(end);
        return;
      }
      if (this.#pasting === undefined) this.#pasting = '';
      else this.#endPaste(pastedText(this.#pasting));
      rest = rest.slice(at + mark.length);
    }
  }

  #take(keys: string): void {
    if (this.#pasting !== undefined) {
      this.#pasting = (this.#pasting + keys).slice(0, MAX_HELD_CHARS);
      return;
    }
    const interrupt = this.#isOpen ? -1 : keys.lastIndexOf(CTRL_C);
    if (interrupt !== -1) this.#interrupt();
    const typed = keys.slice(interrupt + 1);
    // Suspends at once, as it does in every program.
    if (typed === CTRL_Z) this.push(CTRL_Z);
    else if (this.#hasRoomFor(typed)) this.#held += typed;
  }

  #endPaste(text: string): void {
    this.#pasting = undefined;
    if (!this.#hasRoomFor(text)) return;
    this.#pastes = [...this.#pastes, text];
    this.#held += PASTE_BEGINS;
  }

  #hasRoomFor({ length }: string): boolean {
    const held = this.#pastes.reduce((sum, paste) => sum + paste.length, this.#held.length);
    return held + length <= MAX_HELD_CHARS;
  }

  /** Drops what was typed ahead, as a terminal does. */
  #interrupt(): void {
    this.#held = '';
    this.#pastes = [];
    this.#pasting = undefined;
    this.#onInterrupt();
  }

  #deliver(): void {
    if (!this.#isOpen || this.#held === '') return;
    const enter = ENTER.exec(this.#held);
    const end = enter === null ? this.#held.length : enter.index + enter[0].length;
    this.push(this.#held.slice(0, end));
    this.#held = this.#held.slice(end);
    // Only readline knows whether this Enter ended a line; if so, it has called hold() by then.
    if (this.#held !== '') setImmediate(() => this.#deliver());
  }
}

/** How many characters at the end could begin the mark. */
function overlap(keys: string, mark: string): number {
  for (let length = Math.min(keys.length, mark.length - 1); length > 0; length--) {
    if (keys.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}

/** A terminal sends line ends as Enter. What is pasted may come from anywhere. */
function pastedText(text: string): string {
  return foreignText(text.replace(/\r\n?/g, '\n')).replace(/\n+$/, '');
}
