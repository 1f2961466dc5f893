/** How large the results are that nobody has acknowledged: a sum, because asking SQLite reads every row. */
export class KeptResults {
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  keep(callId: string, bytes: number): void {
    this.free(callId);
    if (bytes === 0) return;
    this.#sizes.set(callId, bytes);
    this.#bytes += bytes;
  }

  free(callId: string): void {
    this.#bytes -= this.#sizes.get(callId) ?? 0;
    this.#sizes.delete(callId);
  }
}
