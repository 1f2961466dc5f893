import { ZlError } from '@zerolatency/errors';
import { type ChatEvent, Role } from '@zerolatency/proto/agent';
import type { Error as TurnError } from '@zerolatency/proto/errors';
import type { ChatStream, TurnOptions } from './session.ts';

/** Well below the host's limits on history (200 messages, 1 MiB). */
const MAX_MESSAGES = 100;
const MAX_CHARS = 128 * 1024;

type Memory = Pick<TurnOptions, 'sessionId' | 'history'>;
interface TurnChoice extends Pick<TurnOptions, 'deviceId' | 'model'> {
  /** A turn whose device cannot be reached is then run without one. */
  readonly onDeviceAway?: ((error: TurnError) => void) | undefined;
}

interface Said {
  readonly role: Role;
  readonly text: string;
}

/** Reported before a turn begins, so nothing has happened. */
const AWAY: ReadonlySet<string> = new Set([
  'device.offline',
  'device.unknown',
  'relay.unreachable',
]);

/** Runs turns one after another, on a new stream whenever the last one has ended. */
export class Conversation {
  readonly #open: () => Promise<ChatStream>;
  readonly #choice: () => TurnChoice;
  #session: ChatStream | undefined;
  #stopOpening: (() => void) | undefined;
  #sessionId = '';
  #said: readonly Said[] = [];

  constructor(open: () => Promise<ChatStream>, choice: () => TurnChoice = () => ({})) {
    this.#open = open;
    this.#choice = choice;
  }

  async *turn(text: string): AsyncGenerator<ChatEvent> {
    const { onDeviceAway, ...chosen } = this.#choice();
    const { session, memory } = await this.#usable();
    const events = session.turn(text, { ...chosen, ...memory });
    if (onDeviceAway === undefined) {
      yield* this.#run(text, events);
      return;
    }
    const away = yield* this.#run(text, events, AWAY);
    if (away === undefined) return;
    onDeviceAway(away);
    const again = await this.#usable();
    const without = { ...chosen, ...again.memory, deviceId: '' };
    yield* this.#run(text, again.session.turn(text, without));
  }

  /** Returns the error, unseen, of a turn that can be run without its device. */
  async *#run(
    text: string,
    events: AsyncIterable<ChatEvent>,
    away: ReadonlySet<string> = new Set(),
  ): AsyncGenerator<ChatEvent, TurnError | undefined> {
    let answer = '';
    for await (const event of events) {
      const { case: kind, value } = event.event;
      if (kind === 'error' && away.has(value.id)) return value;
      this.#sessionId ||= event.sessionId;
      if (kind === 'assistantDelta') answer += value.text;
      if (kind === 'assistantDone') this.#remember(text, answer);
      yield event;
    }
    return undefined;
  }

  cancel(): void {
    this.#stopOpening?.();
    this.#session?.cancel();
  }

  close(): void {
    this.#stopOpening?.();
    this.#session?.close();
  }

  async #usable(): Promise<{ session: ChatStream; memory: Memory }> {
    if (this.#session?.isOver === false) return { session: this.#session, memory: {} };
    this.#session?.close();
    const session = await this.#opened();
    this.#session = session;
    return {
      session,
      memory: { sessionId: this.#sessionId, history: [...this.#said] },
    };
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
