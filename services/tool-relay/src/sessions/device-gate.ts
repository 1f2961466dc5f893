import { ZlError } from '@zerolatency/errors';
import type { Admission, Arrival, UpgradeRefusal } from '../sockets/socket-engine.ts';
import { DeviceSession, type SessionContext } from './device-session.ts';
import { DRAINING } from './disconnect.ts';
import { type DrainLimits, Shedding } from './shedding.ts';

/** Admits device sockets and keeps the open ones. */
export class DeviceGate {
  readonly #context: SessionContext;
  readonly #sessions = new Set<DeviceSession>();
  readonly #emptied = Promise.withResolvers<void>();
  #isDraining = false;
  #shedding: Shedding | undefined;

  constructor(context: SessionContext) {
    this.#context = context;
  }

  /** The open sockets, proved or not. */
  get size(): number {
    return this.#sessions.size;
  }

  get sessions(): Iterable<DeviceSession> {
    return this.#sessions;
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

  /** Admits no more devices, and tells the live ones to move. `left` resolves when every device has. */
  drain(limits: DrainLimits): { readonly lastsMs: number; readonly left: Promise<void> } {
    this.#isDraining = true;
    const sessions = [...this.#sessions];
    const live = sessions.filter(({ state }) => state === 'live');
    for (const session of sessions) if (session.state !== 'live') session.end(DRAINING);
    // Devices without a call first, so that calls have the most time to end here.
    live.sort((a, b) => a.calls - b.calls);
    const tells = live.map((session) => (closeAfterMs: number) => session.drain(closeAfterMs));
    this.#shedding = new Shedding(tells, limits, this.#context.clock.monotonicMs);
    this.#shedding.start();
    this.#settle();
    return { lastsMs: this.#shedding.lastsMs, left: this.#emptied.promise };
  }

  end(): void {
    this.#shedding?.stop();
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
