import type { JournalEntry } from '@zerolatency/call';
import { type OpeningObserver, openJournal } from '../src/adapters/journal/open-journal.ts';

export const bytes = (text: string) => new Uint8Array(Buffer.from(text));

/** A call has one deadline: a is due at 1, b at 2 and so on. */
export const entry = (callId: string) => ({
  callId,
  digest: bytes('d'),
  deadlineMs: callId.charCodeAt(0) - 96,
  host: `host of ${callId}`,
});

/** A journal that takes any request for a readable one. */
export function opened(dir: string, observer: Partial<OpeningObserver> = {}) {
  const silent = { wrote() {}, failed() {}, corrupt() {}, torn() {} };
  return openJournal(dir, { ...silent, ...observer }, () => true);
}

/** In an order, and with bytes as text, to compare. */
export function plain(entries: Iterable<JournalEntry>) {
  return [...entries]
    .sort((a, b) => (a.callId < b.callId ? -1 : 1))
    .map((each) =>
      Object.fromEntries(
        Object.entries(each).map(([key, value]) => [
          key,
          value instanceof Uint8Array ? Buffer.from(value).toString() : value,
        ]),
      ),
    );
}
