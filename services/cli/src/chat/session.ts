import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createWritableIterable } from '@connectrpc/connect/protocol';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import {
  AgentService,
  type ChatEvent,
  type ResumeSchema,
  type StartTurnSchema,
  type StreamChatRequest,
  StreamChatRequestSchema,
  type StreamChatResponse,
} from '@zerolatency/proto/agent';
import { connectionError, type RemoteService } from '../connection/connection-error.ts';

export interface ChatTarget {
  readonly url: string;
  /** PEM; empty for h2c on loopback. */
  readonly ca: string;
  readonly token: string;
  readonly deviceId: string;
  readonly model: string;
}

/** The history is sent with the first turn of a new stream. */
export type TurnOptions = Pick<
  MessageInitShape<typeof StartTurnSchema>,
  | 'sessionId'
  | 'history'
  | 'deviceId'
  | 'deviceOptional'
  | 'model'
  | 'onDisconnect'
  | 'onInterruption'
>;

/** One StreamChat stream: turns one after another. */
export class ChatStream {
  readonly #requests = createWritableIterable<StreamChatRequest>();
  readonly #responses: AsyncIterator<StreamChatResponse>;
  readonly #target: ChatTarget;
  readonly #peer: RemoteService;
  readonly #abort = new AbortController();
  #ahead: Promise<IteratorResult<StreamChatResponse>> | undefined;
  #isOver = false;

  constructor(target: ChatTarget) {
    const { url, ca, token } = target;
    this.#target = target;
    this.#peer = { url, unreachable: 'host.unreachable', lost: 'host.lost' };
    const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca } });
    const headers = { authorization: `Bearer ${token}` };
    this.#responses = createClient(AgentService, transport)
      .streamChat(this.#requests, { headers, signal: this.#abort.signal })
      [Symbol.asyncIterator]();
    // Someone must hear of an end before the first turn as well.
    this.#lookAhead();
  }

  /** No further turn can run on this stream. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The events of the turn, up to and including its AssistantDone or Error. */
  turn(text: string, options: TurnOptions = {}): AsyncGenerator<ChatEvent> {
    const { deviceId, model } = this.#target;
    return this.#ask(startRequest({ deviceId, model, ...options, text }));
  }

  /** The further events of a turn whose stream has broken. */
  resume(point: MessageInitShape<typeof ResumeSchema>): AsyncGenerator<ChatEvent> {
    const action = { case: 'resume' as const, value: point };
    return this.#ask(create(StreamChatRequestSchema, { action }));
  }

  async *#ask(request: StreamChatRequest): AsyncGenerator<ChatEvent> {
    const sent = this.#requests.write(request);
    // A failed stream rejects the write and the read; the read has the reason.
    sent.catch(() => {});
    for (;;) {
      const event = await this.#read();
      if (endsTurn(event)) this.#lookAhead();
      yield event;
      if (endsTurn(event)) return;
    }
  }

  /** Without an id the running turn. */
  cancel(turnId = ''): void {
    const action = { case: 'cancel' as const, value: { turnId } };
    const request = create(StreamChatRequestSchema, { action });
    this.#requests.write(request).catch(() => this.#abort.abort());
  }

  close(): void {
    this.#isOver = true;
    this.#requests.close();
    this.#abort.abort();
  }

  async #read(): Promise<ChatEvent> {
    const ahead = this.#ahead ?? this.#responses.next();
    this.#ahead = undefined;
    try {
      const { done, value } = await ahead;
      if (!done && value.event !== undefined) return value.event;
    } catch (reason) {
      this.#isOver = true;
      throw connectionError(reason, this.#peer);
    }
    this.#isOver = true;
    throw new ZlError(this.#peer.lost, `${this.#peer.url} ended the stream during a turn`);
  }

  /** Notices a stream that ends between turns before the next turn is sent on it. */
  #lookAhead(): void {
    const ahead = this.#responses.next();
    const end = () => {
      this.#isOver = true;
    };
    ahead.then(({ done }) => (done === true ? end() : undefined), end);
    this.#ahead = ahead;
  }
}

function endsTurn({ event }: ChatEvent): boolean {
  return event.case === 'assistantDone' || event.case === 'error';
}

function startRequest(start: MessageInitShape<typeof StartTurnSchema>) {
  return create(StreamChatRequestSchema, { action: { case: 'start', value: start } });
}
