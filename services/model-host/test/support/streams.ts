import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ChatEvent, StreamChatRequest, StreamChatResponse } from '@zerolatency/proto/agent';
import {
  type ResumeSchema,
  type StartTurnSchema,
  StreamChatRequestSchema,
} from '@zerolatency/proto/agent';

type Start = MessageInitShape<typeof StartTurnSchema>;

export function start(init: Start): StreamChatRequest {
  return create(StreamChatRequestSchema, { action: { case: 'start', value: init } });
}

export function cancel(turnId = ''): StreamChatRequest {
  return create(StreamChatRequestSchema, { action: { case: 'cancel', value: { turnId } } });
}

export function resume(value: MessageInitShape<typeof ResumeSchema>): StreamChatRequest {
  return create(StreamChatRequestSchema, { action: { case: 'resume', value } });
}

/** The requests of a client that says more only when it wants to. */
export class Requests implements AsyncIterable<StreamChatRequest> {
  #pending: StreamChatRequest[] = [];
  #ended = false;
  #wake: () => void = () => {};

  send(request: StreamChatRequest): void {
    this.#pending.push(request);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamChatRequest> {
    for (;;) {
      const request = this.#pending.shift();
      if (request !== undefined) yield request;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

export async function* only(...requests: StreamChatRequest[]): AsyncGenerator<StreamChatRequest> {
  yield* requests;
}

export async function eventsOf(
  responses: AsyncIterable<Pick<StreamChatResponse, 'event'>>,
): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for await (const { event } of responses) if (event !== undefined) events.push(event);
  return events;
}

export function namesOf(events: readonly ChatEvent[]): (string | undefined)[] {
  return events.map(({ event }) => event.case);
}

export function textOf(events: readonly ChatEvent[]): string {
  return events
    .map(({ event }) => (event.case === 'assistantDelta' ? event.value.text : ''))
    .join('');
}

export function errorIdOf(events: readonly ChatEvent[]): string | undefined {
  const last = events.at(-1)?.event;
  return last?.case === 'error' ? last.value.id : undefined;
}
