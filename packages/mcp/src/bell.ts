/** Rings at once, then only now and then however often it is pulled, but always after the last pull. */
export class Bell {
  readonly #ring: () => void;
  readonly #everyMs: number;
  #resting: NodeJS.Timeout | undefined;
  #isPulled = false;

  constructor(ring: () => void, everyMs: number) {
    this.#ring = ring;
    this.#everyMs = everyMs;
  }

  pull(): void {
    this.#isPulled = true;
    if (this.#resting === undefined) this.#sound();
  }

  silence(): void {
    clearTimeout(this.#resting);
  }

  #sound(): void {
    this.#resting = undefined;
    if (!this.#isPulled) return;
    this.#isPulled = false;
    this.#resting = setTimeout(() => this.#sound(), this.#everyMs);
    this.#ring();
  }
}
