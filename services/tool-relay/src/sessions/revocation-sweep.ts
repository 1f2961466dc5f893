import type { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import type { CredentialFacts } from '@zerolatency/revocations';
import type { LiveDevices } from '../routing/live-devices.ts';

export interface RevocationCheck {
  /** Why the credential must not be used; undefined when it may. */
  fault(credential: CredentialFacts): ZlError | undefined;
}

export interface SweepOptions {
  readonly devices: Pick<LiveDevices, 'find'>;
  readonly revocations: RevocationCheck & { listed(): Iterable<DeviceIdentity> };
}

/** Each may end a session, which costs about as much as ten frames of a call. */
const ENTRIES_PER_TURN = 64;

/**
 * Ends the sessions of devices that a new list revokes. It goes through the list, which is
 * bounded, and not through the devices of the pod; calls go on between its turns.
 */
export class RevocationSweep {
  readonly #options: SweepOptions;
  #left: Iterator<DeviceIdentity> | undefined;
  #turn: NodeJS.Immediate | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** Starts over when one is under way: the newer list holds what the older one does. */
  start(): void {
    this.#left = this.#options.revocations.listed()[Symbol.iterator]();
    this.#turn ??= setImmediate(() => this.#next());
  }

  stop(): void {
    clearImmediate(this.#turn);
    this.#turn = undefined;
    this.#left = undefined;
  }

  #next(): void {
    this.#turn = undefined;
    const { devices, revocations } = this.#options;
    for (let n = 0; n < ENTRIES_PER_TURN; n++) {
      const entry = this.#left?.next();
      if (entry === undefined || entry.done) return;
      const device = devices.find(entry.value);
      if (device === undefined) continue;
      const { issuedAtMs } = device;
      const isRevoked = revocations.fault({ ...entry.value, issuedAtMs })?.id === 'device.revoked';
      if (isRevoked) device.revoke();
    }
    this.#turn = setImmediate(() => this.#next());
  }
}
