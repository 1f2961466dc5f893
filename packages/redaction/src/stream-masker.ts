import { type DetectorName, STREAM_DETECTORS } from './matcher.ts';
import { SecretScanner } from './secret-scanner.ts';
import { View } from './view.ts';

const HALF_CHARACTER = /[\ud800-\udbff]$/;

/**
 * Masks a text that arrives in pieces. What comes out is the same however it
 * was cut. Only text that may yet turn out to be the start of a secret waits;
 * a secret is replaced as soon as it is certain, and its rest is dropped as it
 * comes. `maskText` also finds encoded secrets, for which a stream would have to wait.
 */
export class StreamMasker {
  readonly #detectors: readonly DetectorName[];
  readonly #found = new Set<DetectorName>();
  readonly #onMasked: ((detector: DetectorName) => void) | undefined;
  #scanner: SecretScanner;
  #view = View.plain();
  /** What waits, and where in the text it begins. */
  #held = '';
  #heldFrom = 0;
  /** The first half of a surrogate pair. */
  #half = '';

  /** onMasked is called for each secret as it is replaced. */
  constructor(
    detectors: readonly DetectorName[] = STREAM_DETECTORS,
    onMasked?: (detector: DetectorName) => void,
  ) {
    this.#detectors = detectors;
    this.#onMasked = onMasked;
    this.#scanner = new SecretScanner(detectors);
  }

  /** In order of first appearance. */
  get found(): readonly DetectorName[] {
    return [...this.#found];
  }

  get heldChars(): number {
    return this.#held.length + this.#half.length;
  }

  /** What may be shown now. */
  push(chunk: string): string {
    const text = this.#half + chunk;
    this.#half = HALF_CHARACTER.exec(text)?.[0] ?? '';
    return this.#show(text.slice(0, text.length - this.#half.length), false);
  }

  /** The rest. The masker is then ready for another text. */
  end(): string {
    const rest = this.#show(this.#half, true);
    this.#scanner = new SecretScanner(this.#detectors);
    this.#view = View.plain();
    this.#held = '';
    this.#heldFrom = 0;
    this.#half = '';
    return rest;
  }

  #show(piece: string, final: boolean): string {
    const text = this.#held + piece;
    const secrets = this.#scanner.scan(this.#view.read(piece), final);
    let shown = '';
    let from = 0;
    for (const { name, from: start, to } of secrets) {
      if (name !== undefined) {
        shown += `${text.slice(from, this.#view.startOf(start) - this.#heldFrom)}[masked:${name}]`;
        this.#found.add(name);
        this.#onMasked?.(name);
      }
      from = this.#view.endOf(to) - this.#heldFrom;
    }
    const decided = final ? text.length : this.#view.endOf(this.#scanner.decided) - this.#heldFrom;
    shown += text.slice(from, decided);
    this.#held = text.slice(decided);
    this.#heldFrom += decided;
    return shown;
  }
}
