import { ZlError } from '@zerolatency/errors';
import type { Admission, Arrival, UpgradeRefusal } from '../sockets/socket-engine.ts';
import { DeviceSession, type SessionContext } from './device-session.ts';
import { DRAINING } from './disconnect.ts';

/** Admits device sockets and keeps the open ones. */
export class DeviceGate {
  readonly #context: SessionContext;
  readonly #sessions = new Set<DeviceSession>();
  readonly #emptied = Promise.withResolvers<void>();
  #isDraining = false;

  constructor(context: SessionContext) {
    this.#context = context;
  }

  /** The open sockets, proved or not. */
  get size(): number {
    return this.#sessions.size;
  }

  admit(arrival: Arrival): Admission {
    const refusal = this.#refusal();
    if (refusal !== undefined) return { refusal };
    const session = new DeviceSession(this.#context, {
      onLive: () => arrival.proved(),
      onGone: () => this.#onGone(session),
    });
    arrival.endSocket = (why) => session.endUnproved(why);
    this.#sessions.add(session);
    return { listener: session };
  }

  /** Resolves when every device has left. */
  drain(closeAfterMs: number): Promise<void> {
    this.#isDraining = true;
    for (const session of [...this.#sessions]) session.drain(closeAfterMs);
    this.#settle();
    return this.#emptied.promise;
  }

  end(): void {
    for (const session of [...this.#sessions]) session.end(DRAINING);
  }

  #onGone(session: DeviceSession): void {
    this.#sessions.delete(session);
    this.#settle();
  }

  #settle(): void {
    if (this.#isDraining && this.#sessions.size === 0) this.#emptied.resolve();
  }

  #refusal(): UpgradeRefusal | undefined {
    if (this.#isDraining) {
      return { status: 503, error: new ZlError('server.draining', 'this relay is shutting down') };
    }
    if (this.#sessions.size >= this.#context.limits.max) {
      return { status: 503, error: new ZlError('limit.exceeded', 'too many devices on this pod') };
    }
    return undefined;
  }
}
