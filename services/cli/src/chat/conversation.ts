import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { type ChatEvent, OnDisconnect, Role } from '@zerolatency/proto/agent';
import type { ChatStream, TurnOptions } from './session.ts';

/** Well below the host's limits on history (200 messages, 1 MiB). */
const MAX_MESSAGES = 100;
const MAX_CHARS = 128 * 1024;
/** A person is told of a longer wait, and decides. */
const MAX_RETRY_AFTER_MS = 30_000;

type Memory = Pick<TurnOptions, 'sessionId' | 'history'>;
type TurnChoice = Pick<TurnOptions, 'deviceId' | 'deviceOptional' | 'model' | 'onInterruption'>;

interface ResumePoint {
  readonly turnId: string;
  readonly afterSequence: bigint;
}

/** Errors of the connection or the pod, which say nothing about the turn. */
const BROKEN: ReadonlySet<ErrorId> = new Set([
  'host.lost',
  'host.unreachable',
  'server.draining',
  'turn.unreachable',
]);
/** A pod that starts again takes some seconds. */
const RESUME_WAITS_MS: readonly number[] = [100, 400, 1000, 2000, 4000];

interface Said {
  readonly role: Role;
  readonly text: string;
}

export interface ConversationOptions {
  readonly choice?: () => TurnChoice;
  /** Called once for each stream that breaks during a turn. */
  readonly onResume?: () => void;
  /** Before a turn that a limit refused is sent again. */
  readonly onWait?: (refusal: ZlError, waitMs: number) => void;
}

/** Runs turns one after another, on a new stream whenever the last one has ended. */
export class Conversation {
  readonly #open: () => Promise<ChatStream>;
  readonly #choice: () => TurnChoice;
  readonly #onResume: () => void;
  readonly #onWait: NonNullable<ConversationOptions['onWait']>;
  #session: ChatStream | undefined;
  #stopOpening: (() => void) | undefined;
  #sessionId = '';
  #said: readonly Said[] = [];

  #needsHistory = true;
  #wantsCancel = false;
  #isClosed = false;

  constructor(
    open: () => Promise<ChatStream>,
    { choice = () => ({}), onResume = () => {}, onWait = () => {} }: ConversationOptions = {},
  ) {
    this.#open = open;
    this.#choice = choice;
    this.#onResume = onResume;
    this.#onWait = onWait;
  }

  /** A turn that a limit refuses for a short time is sent once more after it. */
  async *turn(text: string): AsyncGenerator<ChatEvent> {
    let hasBegun = false;
    try {
      for await (const event of this.#attempt(text)) {
        hasBegun = true;
        yield event;
      }
      return;
    } catch (reason) {
      if (hasBegun || !(reason instanceof ZlError)) throw reason;
      const waitMs = retryAfterMs(reason);
      if (waitMs === undefined) throw reason;
      this.#onWait(reason, waitMs);
      await this.#waited(waitMs);
    }
    yield* this.#attempt(text);
  }

  async *#attempt(text: string): AsyncGenerator<ChatEvent> {
    const { session, memory } = await this.#usable();
    let answer: { readonly sequence: bigint; readonly text: string }[] = [];
    this.#wantsCancel = false;
    const onDisconnect = OnDisconnect.CONTINUE;
    const events = session.turn(text, { onDisconnect, ...this.#choice(), ...memory });
    for await (const event of this.#whole(events)) {
      const { case: kind, value } = event.event;
      this.#sessionId ||= event.sessionId;
      const { sequence } = event;
      if (kind === 'assistantDelta') answer.push({ sequence, text: value.text });
      if (kind === 'providerInterrupted' && value.firstSequence > 0n) {
        answer = answer.filter((piece) => piece.sequence < value.firstSequence);
      }
      if (kind === 'critique' && value.supersedes) answer = [];
      if (kind === 'assistantDone') {
        this.#remember(text, answer.map((piece) => piece.text).join(''));
      }
      yield event;
    }
  }

  cancel(): void {
    this.#wantsCancel = true;
    this.#stopOpening?.();
    this.#session?.cancel();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopOpening?.();
    this.#session?.close();
  }

  /** The events of one turn, on further streams where one breaks. Throws what broke the first. */
  async *#whole(first: AsyncGenerator<ChatEvent>): AsyncGenerator<ChatEvent> {
    let events = first;
    let last: ChatEvent | undefined;
    let broken: unknown;
    let waits = RESUME_WAITS_MS;
    for (;;) {
      try {
        for await (const event of events) {
          [last, broken, waits] = [event, undefined, RESUME_WAITS_MS];
          yield event;
        }
        return;
      } catch (reason) {
        broken ??= reason;
        const [waitMs, ...rest] = waits;
        const mayResume = reason instanceof ZlError && BROKEN.has(reason.id) && !this.#isClosed;
        if (last === undefined || !mayResume || waitMs === undefined) throw broken;
        if (reason === broken) this.#onResume();
        waits = rest;
        await delay(waitMs);
        events = this.#resumed({ turnId: last.turnId, afterSequence: last.sequence });
      }
    }
  }

  async *#resumed(point: ResumePoint): AsyncGenerator<ChatEvent> {
    this.#session?.close();
    const session = await this.#open();
    this.#session = session;
    this.#needsHistory = true;
    // What was sent on the broken stream may not have arrived.
    if (this.#wantsCancel) session.cancel(point.turnId);
    if (this.#isClosed) session.close();
    yield* session.resume(point);
  }

  async #usable(): Promise<{ session: ChatStream; memory: Memory }> {
    if (this.#session?.isOver !== false) {
      this.#session?.close();
      this.#session = await this.#opened();
      this.#needsHistory = true;
    }
    if (!this.#needsHistory) return { session: this.#session, memory: {} };
    this.#needsHistory = false;
    const memory = { sessionId: this.#sessionId, history: [...this.#said] };
    return { session: this.#session, memory };
  }

  async #waited(waitMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    this.#stopOpening = () => reject(new ZlError('turn.cancelled', 'the turn had not started'));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#stopOpening = undefined;
    }
  }

  /** A cancel does not wait for the open, which reads files and may hang. */
  async #opened(): Promise<ChatStream> {
    const stopped = Promise.withResolvers<never>();
    this.#stopOpening = () =>
      stopped.reject(new ZlError('turn.cancelled', 'the turn had not started'));
    const opening = this.#open();
    try {
      return await Promise.race([opening, stopped.promise]);
    } catch (reason) {
      opening.then(
        (session) => session.close(),
        () => {},
      );
      throw reason;
    } finally {
      this.#stopOpening = undefined;
    }
  }

  /** Drops whole turns, the oldest first. */
  #remember(question: string, answer: string): void {
    const turn = [
      { role: Role.USER, text: question },
      { role: Role.ASSISTANT, text: answer },
    ];
    this.#said = [...this.#said, ...turn].slice(-MAX_MESSAGES);
    while (this.#said.reduce((sum, { text }) => sum + text.length, 0) > MAX_CHARS) {
      this.#said = this.#said.slice(2);
    }
  }
}

function retryAfterMs({ id, retryable, retryAfterMs }: ZlError): number | undefined {
  if (id !== 'limit.exceeded' || !retryable || retryAfterMs === undefined) return undefined;
  return retryAfterMs <= MAX_RETRY_AFTER_MS ? retryAfterMs : undefined;
}
