import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import type { ChatEvent, StartTurn, StreamChatRequest } from '@zerolatency/proto/agent';
import type { OnMasked } from '@zerolatency/redaction';
import { fromConnectError } from '@zerolatency/service/rpc';
import type { ProvenIdentity } from '../ports.ts';
import type { ModelMessage } from '../providers/port.ts';
import { EventQueue } from '../turn/event-queue.ts';
import { TurnEvents } from '../turn/turn-events.ts';
import { newTurnId, type RunningTurn, type Turns } from '../turn/turns.ts';
import { Conversation } from './conversation.ts';
import { readStartTurn } from './start-turn.ts';

export interface ChatSessionOptions extends ProvenIdentity {
  readonly turns: Turns;
  readonly traceparent: string;
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
  readonly onMasked: OnMasked;
}

interface CurrentTurn extends RunningTurn {
  readonly survivesDisconnect: boolean;
}

const lostIds: ReadonlySet<ErrorId> = new Set([
  'internal',
  'peer.lost',
  'peer.timeout',
  'peer.unavailable',
  'turn.cancelled',
]);
/** A timer cannot be set further ahead. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** One stream: its conversation, and at most one running turn. */
export class ChatSession {
  readonly #options: ChatSessionOptions;
  readonly #queue = new EventQueue();
  readonly #conversation = new Conversation();
  #sessionId = '';
  #current: CurrentTurn | undefined;
  #failure: ZlError | undefined;
  #hasSaidAll = false;
  #isEnded = false;

  constructor(options: ChatSessionOptions) {
    this.#options = options;
    const { signal } = options;
    if (signal.aborted) this.#leave();
    signal.addEventListener('abort', () => this.#leave(), { once: true });
    const { draining } = options.turns;
    if (draining.aborted) void this.#drain();
    // The stream's own signal aborts when it ends, which takes this listener off the pod's.
    draining.addEventListener('abort', () => void this.#drain(), { once: true, signal });
    this.#watchExpiry();
  }

  /** Every event of the stream in order; throws what the RPC fails with. */
  async *events(requests: AsyncIterable<StreamChatRequest>): AsyncGenerator<ChatEvent, void> {
    void this.#read(requests);
    for (;;) {
      const { done, value } = await this.#queue.next();
      if (done) break;
      yield value;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #read(requests: AsyncIterable<StreamChatRequest>): Promise<void> {
    try {
      for await (const { action } of requests) {
        if (action.case === 'start') await this.#start(action.value);
        else if (action.case === 'cancel') this.#cancel(action.value.turnId);
        else throw new ZlError('request.invalid', 'action is neither start nor cancel');
      }
      this.#hasSaidAll = true;
      await this.#endWith(undefined);
    } catch (reason) {
      const error = readingFailure(reason);
      if (isLost(error)) this.#leave();
      else this.#current?.cancel(error);
      await this.#endWith(error);
    }
  }

  /** What was asked for before goes on to its end, and is told. The first reason to end stands. */
  async #endWith(failure: ZlError | undefined): Promise<void> {
    await this.#current?.ended;
    if (!this.#isEnded) this.#failure = failure;
    this.#isEnded = true;
    this.#queue.close();
  }

  #drain(): Promise<void> {
    return this.#takeNoMore(new ZlError('server.draining', 'this pod is shutting down'));
  }

  /** Whoever asks has to prove again who it is: a stream would outlive any withdrawal. */
  #watchExpiry(): void {
    const { expiresAtMs, signal } = this.#options;
    // Nothing would stop the timer of a client that has left already.
    if (signal.aborted) return;
    const leftMs = expiresAtMs - Date.now();
    if (leftMs <= 0) {
      void this.#takeNoMore(
        new ZlError('identity.invalid', 'the token of this stream has expired'),
      );
      return;
    }
    const timer = setTimeout(() => this.#watchExpiry(), Math.min(leftMs, MAX_TIMER_MS));
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  /** A client that wants another turn is told why not; one that has said all got all. */
  async #takeNoMore(reason: ZlError): Promise<void> {
    await this.#current?.ended;
    if (!this.#hasSaidAll) await this.#endWith(reason);
  }

  async #start(start: StartTurn): Promise<void> {
    if (this.#current !== undefined) return this.#refuseBusy();
    const asked = readStartTurn(start, this.#options.onMasked);
    this.#checkContinuity(start, asked.sessionId);
    const { identity, traceparent, turns } = this.#options;
    const said: ModelMessage = { role: 'user', text: asked.text };
    const messages = [...asked.history, ...this.#conversation.messages, said];
    const running = turns.start(
      { ...asked, sessionId: this.#sessionId || asked.sessionId, identity, traceparent, messages },
      this.#queue,
    );
    this.#sessionId ||= asked.sessionId;
    const current = { ...running, survivesDisconnect: asked.survivesDisconnect };
    this.#current = current;
    void running.ended.then(({ messages: added, state }) => {
      if (this.#current === current) this.#current = undefined;
      this.#conversation.add([...asked.history, ...(state.at === 'done' ? [said, ...added] : [])]);
    });
  }

  #checkContinuity(start: StartTurn, sessionId: string): void {
    if (this.#sessionId === '') return;
    if (start.history.length > 0) {
      throw new ZlError('request.invalid', 'start.history is for the first turn of a stream only');
    }
    if (start.sessionId !== '' && sessionId !== this.#sessionId) {
      throw new ZlError('request.invalid', 'start.session_id changed; one stream is one session');
    }
  }

  /** The refused turn ends at once with its own error event, and the running one goes on. */
  async #refuseBusy(): Promise<void> {
    // A client that floods us with turns waits for its own reading.
    await this.#queue.room(this.#options.signal);
    const scope = { sessionId: this.#sessionId, turnId: newTurnId() };
    new TurnEvents(this.#queue, scope).error(
      new ZlError('turn.busy', `turn ${this.#current?.turnId} is still running on this stream`),
    );
  }

  #cancel(turnId: string): void {
    if (turnId !== '' && turnId !== this.#current?.turnId) return;
    this.#current?.cancel(new ZlError('turn.cancelled', 'the client cancelled the turn'));
  }

  #leave(): void {
    if (this.#current?.survivesDisconnect !== true) {
      this.#current?.cancel(new ZlError('turn.cancelled', 'the client left'));
    }
    this.#queue.abandon();
  }
}

/** Connect calls a message that it cannot read an internal error; one that broke off has its cause. */
function readingFailure(reason: unknown): ZlError {
  const isMessage = reason instanceof ConnectError && reason.code === Code.Internal;
  if (!isMessage || reason.cause !== undefined) {
    return fromConnectError(reason, { aborted: 'turn.cancelled' });
  }
  return new ZlError('request.invalid', reason.rawMessage, { cause: reason });
}

/** A connection that broke, as opposed to a client that sent something wrong. */
function isLost(error: ZlError): boolean {
  return lostIds.has(error.id);
}
