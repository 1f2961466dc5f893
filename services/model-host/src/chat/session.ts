import { fromUnknown, type Happened, mostOf, ZlError } from '@zerolatency/errors';
import type { ProvenIdentity } from '@zerolatency/identity';
import type { ChatEvent } from '@zerolatency/proto/agent';
import type { TurnKind } from '../limits/quotas.ts';
import type { ModelMessage } from '../providers/port.ts';
import { userMessage } from '../providers/reply.ts';
import { newId, type TurnAsk, type Turns } from '../turn/turns.ts';
import { ChatReader } from './reader.ts';
import { type FoundTurn, failureIn, type TurnLogs } from './turn-logs.ts';

export const MAX_HISTORY_MESSAGES = 200;
export const MAX_HISTORY_BYTES = 1024 * 1024;

/** A request for a turn, its fields within bounds and its secrets masked. */
export interface TurnStart
  extends Pick<
    TurnAsk,
    'deviceId' | 'deviceOptional' | 'limits' | 'model' | 'call' | 'mayReplaceText'
  > {
  /** Empty for a new session, or the one of the stream. */
  readonly sessionId: string;
  readonly text: string;
  readonly history: readonly ModelMessage[];
  readonly survivesDisconnect: boolean;
}

/** The client's end of a chat: resolves when its socket has taken the event, or the client is gone. */
export type SendEvent = (event: ChatEvent) => Promise<void>;

export interface ResumePoint {
  readonly turnId: string;
  /** The last event that the client has; 0 for none. */
  readonly afterSequence: number;
}

export interface ChatObserver {
  /** So many deltas went into another one, because a reader was slow. */
  deltasMerged(count: number): void;
  resumed(result: 'whole' | 'gap'): void;
}

export interface ChatSessionOptions extends ProvenIdentity {
  readonly turns: Turns;
  readonly logs: TurnLogs;
  readonly traceparent: string;
  /** Aborts when the stream ends; a reason that is a ZlError is told to its client, who still listens. */
  readonly signal: AbortSignal;
  readonly observer: ChatObserver;
}

interface CurrentTurn extends Omit<FoundTurn, 'log'> {
  readonly turnId: string;
  readonly survivesDisconnect: boolean;
  /** It began on another stream, and continues when this one ends. */
  readonly isFollowed: boolean;
}

/** So soon a clock that was set forward is noticed. */
const MAX_TIMER_MS = 60_000;

/** One chat: its conversation, and at most one running turn. */
export class ChatSession {
  readonly #options: ChatSessionOptions;
  readonly #reader: ChatReader;
  readonly #conversation = new Conversation();
  #sessionId = '';
  #current: CurrentTurn | undefined;
  #failure: ZlError | undefined;
  #turnFailure: ZlError | undefined;
  /** In all turns of this stream. */
  #happened: Happened = 'nothing';
  #hasStarted = false;
  #hasFinished = false;
  #isEnded = false;

  constructor(options: ChatSessionOptions) {
    this.#options = options;
    const { signal, observer } = options;
    this.#reader = new ChatReader((deltas) => observer.deltasMerged(deltas));
    if (signal.aborted) this.#onAbort();
    signal.addEventListener('abort', () => this.#onAbort(), { once: true });
    const { draining } = options.turns;
    if (draining.aborted) void this.#drain();
    // The stream's own signal aborts when it ends, which removes this listener from the pod's.
    draining.addEventListener('abort', () => void this.#drain(), { once: true, signal });
    this.#watchExpiry();
    this.#watchWithdrawal();
  }

  /** Why the last turn failed, once it has ended; undefined for one that is done. */
  get turnFailure(): ZlError | undefined {
    return this.#turnFailure;
  }

  /**
   * Sends every event in order; throws the error that ended the session. Deltas that come before
   * the socket has taken the last event merge.
   */
  async deliver(send: SendEvent): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.next();
      if (done) break;
      await send(value);
    }
    if (this.#failure !== undefined) throw this.#failure.after(this.#happened);
  }

  /**
   * Reads the request unless a turn runs: then this one gets its own error event.
   * @throws a ZlError when the turn may not start.
   */
  async start(read: () => TurnStart, kind: TurnKind = 'model'): Promise<void> {
    if (this.#current !== undefined) return this.#refuseBusy(this.#current);
    const { identity, logs, signal, traceparent, turns } = this.#options;
    turns.assertRoom(identity, kind);
    const asked = read();
    this.#checkContinuity(asked);
    const said = userMessage(asked.text);
    const conversation = [...asked.history, ...this.#conversation.messages, said];
    const messages = asked.call === undefined ? conversation : [];
    const sessionId = this.#sessionId || asked.sessionId || newId();
    const turnId = newId();
    const slot = await turns.enter(identity, turnId);
    // The stream has ended meanwhile.
    if (this.#isEnded || (signal.aborted && !asked.survivesDisconnect)) return slot.leave();
    const log = logs.open({ sessionId, turnId });
    const ask = { ...asked, sessionId, turnId, identity, traceparent, messages };
    const running = turns.start(ask, log, slot);
    logs.keep({ ...running, log, owner: identity });
    this.#sessionId = sessionId;
    this.#hasStarted = true;
    this.#reader.follow(log);
    const { survivesDisconnect } = asked;
    const place = { isFollowed: false, isElsewhere: false };
    const current = { ...running, ...place, turnId, survivesDisconnect };
    this.#current = current;
    void running.ended.then(({ messages: added, state, happened }) => {
      this.#happened = mostOf(this.#happened, happened);
      this.#turnFailure = state.at === 'done' ? undefined : state.error;
      if (this.#current === current) this.#current = undefined;
      this.#conversation.add([...asked.history, ...(state.at === 'done' ? [said, ...added] : [])]);
    });
  }

  /**
   * Reads a turn of another stream to its end.
   * @throws turn.not_found; request.invalid where it is of another session, or not that far yet.
   */
  async resume({ turnId, afterSequence }: ResumePoint): Promise<void> {
    if (this.#current !== undefined) return this.#refuseBusy(this.#current);
    const { identity, logs, observer, signal } = this.#options;
    const found = await logs.find(turnId, identity, afterSequence);
    if (this.#isEnded || signal.aborted) return;
    const { log, ended } = found;
    if (this.#sessionId !== '' && this.#sessionId !== log.sessionId) {
      throw invalid('resume.turn_id', 'is of another session; one stream is one session');
    }
    this.#reader.follow(log, afterSequence + 1);
    this.#sessionId = log.sessionId;
    observer.resumed(log.firstSequence > afterSequence + 1 ? 'gap' : 'whole');
    const current = { ...found, turnId, survivesDisconnect: true, isFollowed: true };
    this.#current = current;
    void ended.then(() => {
      this.#turnFailure = failureIn(log);
      if (this.#current === current) this.#current = undefined;
    });
  }

  /** An empty id cancels the running turn, whichever it is. A turn that is not found is ignored. */
  cancel(turnId: string): void {
    const error = new ZlError('turn.cancelled', 'the client cancelled the turn');
    const { identity, logs } = this.#options;
    if (turnId === '' || turnId === this.#current?.turnId) this.#current?.cancel(error);
    else logs.cancel(turnId, identity, error).catch(() => {});
  }

  /** The client sends nothing more; what it asked for before goes on to its end. */
  async finish(): Promise<void> {
    this.#hasFinished = true;
    await this.#endWith(undefined);
  }

  /** The client sent something wrong, or its connection broke. */
  async fail(error: ZlError, { isLost }: { isLost: boolean }): Promise<void> {
    if (this.#current?.isFollowed) return this.#stopFollowing(error);
    if (isLost) this.#leave();
    else this.#current?.cancel(error);
    await this.#endWith(error);
  }

  /** The first reason to end stands. */
  async #endWith(failure: ZlError | undefined): Promise<void> {
    await this.#current?.ended;
    if (!this.#isEnded) this.#failure = failure;
    this.#isEnded = true;
    this.#reader.close();
  }

  async #drain(): Promise<void> {
    const error = new ZlError('server.draining', 'this pod is shutting down');
    // The client reads on from another pod, and this one need not wait for the end.
    if (this.#current?.isElsewhere) return this.#stopFollowing(error);
    await this.#takeNoMore(error);
  }

  /** The turn goes on without this reader. */
  #stopFollowing(error: ZlError): void {
    if (!this.#isEnded) this.#failure = error;
    this.#isEnded = true;
    this.#current = undefined;
    this.#reader.abandon();
  }

  /** The caller has to prove its identity again: a stream would outlive any revocation. */
  #watchExpiry(): void {
    const { expiresAtMs, signal } = this.#options;
    // Nothing would clear the timer of a client that has already left.
    if (signal.aborted) return;
    const leftMs = expiresAtMs - Date.now();
    if (leftMs <= 0) {
      const error = new ZlError('identity.invalid', 'the token of this stream has expired');
      void this.#takeNoMore(error);
      return;
    }
    const timer = setTimeout(() => this.#watchExpiry(), Math.min(leftMs, MAX_TIMER_MS));
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  /** A proof is withdrawn because it may be forged, so even the running turn ends. */
  #watchWithdrawal(): void {
    const { withdrawn, signal } = this.#options;
    if (withdrawn === undefined) return;
    const onWithdrawn = () => {
      if (this.#current?.isFollowed === false) this.#current.cancel(fromUnknown(withdrawn.reason));
      void this.#stop(fromUnknown(withdrawn.reason));
    };
    if (withdrawn.aborted) onWithdrawn();
    else withdrawn.addEventListener('abort', onWithdrawn, { once: true, signal });
  }

  /** A client that may want another turn gets the reason; one that has finished has all it asked for. */
  async #takeNoMore(reason: ZlError): Promise<void> {
    await this.#current?.ended;
    if (!this.#hasFinished) await this.#endWith(reason);
  }

  #checkContinuity({ history, sessionId }: TurnStart): void {
    if (sessionId !== '' && this.#sessionId !== '' && sessionId !== this.#sessionId) {
      throw invalid('start.session_id', 'changed; one stream is one session');
    }
    if (this.#hasStarted && history.length > 0) {
      throw invalid('start.history', 'is for the first turn of a stream only');
    }
  }

  /** The refused turn ends at once with its own error event, and the running one goes on. */
  async #refuseBusy({ turnId }: CurrentTurn): Promise<void> {
    // A client that floods us with turns waits until it has read its refusals.
    await this.#reader.room(this.#options.signal);
    const log = this.#options.logs.open({ sessionId: this.#sessionId, turnId: newId() });
    log.error(new ZlError('turn.busy', `turn ${turnId} is still running on this stream`));
    this.#reader.interject(log);
  }

  #onAbort(): void {
    const { reason } = this.#options.signal;
    if (reason instanceof ZlError) void this.#stop(reason);
    else this.#leave();
  }

  /** The running turn ends with this error and its last event, unless it goes on without a reader. */
  async #stop(error: ZlError): Promise<void> {
    if (this.#current?.isFollowed) return this.#stopFollowing(error);
    if (!this.#isEnded) this.#failure = error;
    // It stands even where the client wants nothing after the running turn.
    this.#isEnded = true;
    if (this.#current?.survivesDisconnect === true) this.#leave();
    else this.#current?.cancel(error);
    await this.#endWith(error);
  }

  #leave(): void {
    if (this.#current?.survivesDisconnect !== true) {
      this.#current?.cancel(new ZlError('turn.cancelled', 'the client left'));
    }
    this.#reader.abandon();
  }
}

/** The messages of the chat so far. Forgets whole turns, the oldest first. */
class Conversation {
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

function invalid(field: string, reason: string): ZlError {
  return new ZlError('request.invalid', `${field} ${reason}`, { field });
}
