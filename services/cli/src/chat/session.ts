import { create } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createWritableIterable } from '@connectrpc/connect/protocol';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  AgentService,
  type ChatEvent,
  StreamChatRequestSchema,
  type StreamChatResponse,
} from '@zerolatency/proto/agent';

export interface ChatTarget {
  readonly url: string;
  /** PEM; empty for h2c on loopback. */
  readonly ca: string;
  readonly token: string;
  readonly deviceId: string;
  readonly model: string;
}

/** One StreamChat stream: turns one after another. */
export class ChatSession {
  readonly #requests = createWritableIterable<ReturnType<typeof startRequest>>();
  readonly #responses: AsyncIterator<StreamChatResponse>;
  readonly #target: ChatTarget;
  readonly #abort = new AbortController();

  constructor(target: ChatTarget) {
    this.#target = target;
    const client: Client<typeof AgentService> = createClient(
      AgentService,
      createGrpcTransport({ baseUrl: target.url, nodeOptions: { ca: target.ca } }),
    );
    const headers = { authorization: `Bearer ${target.token}` };
    const { signal } = this.#abort;
    this.#responses = client
      .streamChat(this.#requests, { headers, signal })
      [Symbol.asyncIterator]();
  }

  /** The turn's events, up to and with its AssistantDone or Error. */
  async *turn(text: string): AsyncGenerator<ChatEvent> {
    const { deviceId, model } = this.#target;
    const sent = this.#requests.write(startRequest({ text, deviceId, model }));
    // A stream that failed rejects the write as well as the read; the read tells why.
    sent.catch(() => {});
    for (;;) {
      const { done, value } = await this.#responses.next();
      if (done || value.event === undefined) return;
      yield value.event;
      const { case: kind } = value.event.event;
      if (kind === 'assistantDone' || kind === 'error') return;
    }
  }

  cancel(): void {
    const request = create(StreamChatRequestSchema, { action: { case: 'cancel', value: {} } });
    this.#requests.write(request).catch(() => this.#abort.abort());
  }

  close(): void {
    this.#requests.close();
    this.#abort.abort();
  }
}

function startRequest(start: { text: string; deviceId: string; model: string }) {
  return create(StreamChatRequestSchema, { action: { case: 'start', value: start } });
}
