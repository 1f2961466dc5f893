import type { TestContext } from 'node:test';
import { Agent, fetch, type RequestInit, type Response } from 'undici';
import type { TestHost } from './host.ts';

export interface SentEvent {
  readonly id: string;
  /** message for an event of the turn. */
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** The fetch of a client that knows the host's authority. */
export function browserFetch(t: TestContext, host: TestHost, { allowH2 = true } = {}) {
  const dispatcher = new Agent({ allowH2, connect: { ca: host.ca } });
  t.after(() => dispatcher.destroy());
  return (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(new URL(path, host.addresses.rpc), { ...init, dispatcher });
}

/** Reads server-sent events until the response ends or enough of them have come. */
export async function sentEvents(
  response: Pick<Response, 'body'>,
  isEnough: (events: readonly SentEvent[]) => boolean = () => false,
): Promise<SentEvent[]> {
  const events: SentEvent[] = [];
  let text = '';
  for await (const piece of response.body ?? []) {
    text += Buffer.from(piece).toString();
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    events.push(...blocks.flatMap(readBlock));
    if (isEnough(events)) break;
  }
  return events;
}

function readBlock(block: string): SentEvent[] {
  const fields = new Map(
    block.split('\n').map((line) => {
      const at = line.indexOf(': ');
      return [line.slice(0, at), line.slice(at + 2)];
    }),
  );
  const data = fields.get('data');
  if (data === undefined) return [];
  return [
    { id: fields.get('id') ?? '', type: fields.get('event') ?? 'message', data: JSON.parse(data) },
  ];
}

export function textIn(events: readonly SentEvent[]): string {
  return events
    .map(({ data: { assistantDelta } }) => {
      return assistantDelta instanceof Object && 'text' in assistantDelta
        ? assistantDelta.text
        : '';
    })
    .join('');
}
