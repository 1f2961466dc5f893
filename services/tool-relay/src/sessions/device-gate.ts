import { ZlError } from '@zerolatency/errors';
import type { AddressGate } from '@zerolatency/service/network';
import type { Admission, UpgradeRefusal } from '../sockets/socket-engine.ts';
import { DeviceSession, type SessionContext, type SessionObserver } from './device-session.ts';
import { DRAINING } from './disconnect.ts';

/** Admits device sockets and keeps the open ones. */
export class DeviceGate implements SessionObserver {
  readonly #context: SessionContext;
  readonly #addresses: AddressGate;
  readonly #sessions = new Set<DeviceSession>();
  readonly #emptied = Promise.withResolvers<void>();
  #unproved = 0;
  #isDraining = false;

  constructor(context: SessionContext, addresses: AddressGate) {
    this.#context = context;
    this.#addresses = addresses;
  }

  /** The open sockets, proved or not. */
  get size(): number {
    return this.#sessions.size;
  }

  admit(address: string): Admission {
    const refusal = this.#refusal(address);
    if (refusal !== undefined) return { refusal };
    const session = new DeviceSession(this.#context, this);
    this.#sessions.add(session);
    this.#unproved += 1;
    return { listener: session };
  }

  onLive(): void {
    this.#unproved -= 1;
  }

  onGone(session: DeviceSession, wasLive: boolean): void {
    this.#sessions.delete(session);
    if (!wasLive) this.#unproved -= 1;
    this.#settle();
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

  #settle(): void {
    if (this.#isDraining && this.#sessions.size === 0) this.#emptied.resolve();
  }

  #refusal(address: string): UpgradeRefusal | undefined {
    const { limits, clock } = this.#context;
    if (this.#isDraining) {
      return { status: 503, error: new ZlError('server.draining', 'this relay is shutting down') };
    }
    if (!this.#addresses.admit(address, clock.monotonicMs())) {
      return {
        status: 429,
        error: new ZlError('limit.exceeded', 'too many connection attempts from this address'),
      };
    }
    if (this.#sessions.size >= limits.max || this.#unproved >= limits.maxUnproved) {
      return { status: 503, error: new ZlError('limit.exceeded', 'too many devices on this pod') };
    }
    return undefined;
  }
}
