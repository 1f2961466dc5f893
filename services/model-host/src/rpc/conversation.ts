import type { ModelMessage } from '../providers/port.ts';
import { MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES } from './start-turn.ts';

/** What was said on a stream so far. Forgets whole turns, the oldest first. */
export class Conversation {
  #turns: { readonly messages: readonly ModelMessage[]; readonly bytes: number }[] = [];

  get messages(): readonly ModelMessage[] {
    return this.#turns.flatMap((turn) => turn.messages);
  }

  add(messages: readonly ModelMessage[]): void {
    this.#turns.push({ messages, bytes: Buffer.byteLength(JSON.stringify(messages)) });
    while (this.#turns.length > 1 && this.#isTooLarge()) this.#turns.shift();
  }

  #isTooLarge(): boolean {
    const messages = this.#turns.reduce((sum, turn) => sum + turn.messages.length, 0);
    const bytes = this.#turns.reduce((sum, turn) => sum + turn.bytes, 0);
    return messages > MAX_HISTORY_MESSAGES || bytes > MAX_HISTORY_BYTES;
  }
}
