import type { LedgerRecord, OpenIntent } from './record.ts';

/** Intents whose call has no receipt yet. */
export class IntentBook {
  readonly #open = new Map<string, OpenIntent>();

  constructor(open: readonly OpenIntent[] = []) {
    for (const intent of open) this.#open.set(intent.body.callId, intent);
  }

  get size(): number {
    return this.#open.size;
  }

  note(record: Pick<LedgerRecord, 'kind' | 'index' | 'at' | 'body'>): void {
    const { kind, index, at, body } = record as LedgerRecord;
    if (kind === 'call.intent') this.#open.set(body.callId, { index, at, body });
    if (kind === 'call.receipt') this.#open.delete(body.callId);
  }

  list(): OpenIntent[] {
    return [...this.#open.values()];
  }
}
