import { ZlError } from '@zerolatency/errors';
import { type ChatEvent, Role } from '@zerolatency/proto/agent';
import type { ChatStream, TurnOptions } from './session.ts';

/** Well below the host's limits on history (200 messages, 1 MiB). */
const MAX_MESSAGES = 100;
const MAX_CHARS = 128 * 1024;

type Memory = Pick<TurnOptions, 'sessionId' | 'history'>;
type TurnChoice = Pick<TurnOptions, 'deviceId' | 'deviceOptional' | 'model'>;

interface Said {
  readonly role: Role;
  readonly text: string;
}

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
    const { session, memory } = await this.#usable();
    let answer = '';
    for await (const event of session.turn(text, { ...this.#choice(), ...memory })) {
      const { case: kind, value } = event.event;
      this.#sessionId ||= event.sessionId;
      if (kind === 'assistantDelta') answer += value.text;
      if (kind === 'assistantDone') this.#remember(text, answer);
      yield event;
    }
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
