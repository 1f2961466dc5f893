import { create, toBinary } from '@bufbuild/protobuf';
import { fromUnknown, isErrorId, ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind, RENEWAL_FEATURE, readMessage } from '@zerolatency/frame';
import { readDeviceCredential, signRenewal, successorFault } from '@zerolatency/identity';
import { CredentialSchema, RenewSchema } from '@zerolatency/proto/bridge';
import { Backoff } from '@zerolatency/service/backoff';
import { controlFrame } from './handshake.ts';
import type { ConnectionClock, ConnectionDeps, DeviceCredentials, LiveState } from './state.ts';

export interface RenewalDeps {
  readonly clock: ConnectionClock;
  readonly random: () => number;
  readonly loadIdentity: ConnectionDeps['loadIdentity'];
  /** Resolves once the credential would survive a crash; when it rejects, the old one is still there. */
  readonly save: (credential: string) => Promise<void>;
  readonly send: (frame: Frame) => void;
  readonly onEnded: (failure: ZlError | undefined) => void;
}

/** At this part of its life, and up to a tenth later: devices that enrolled together do not renew together. */
const DUE = { part: 0.5, spread: 0.1 };
/** The credential may be replaced meanwhile, and the clock of the machine set. */
const LOOK_AGAIN_MS = 60 * 60_000;
const ANSWER_WITHIN_MS = 10_000;
const RETRY = { minMs: 15_000, maxMs: 10 * 60_000 };

/**
 * Renews the device's credential over its connection:
 *
 *   detached <-> waiting --due--> asked --> waiting
 *
 * The next hello uses what was saved. A failure is tried again after a growing wait.
 */
export class Renewal {
  readonly #deps: RenewalDeps;
  readonly #backoff = new Backoff(RETRY);
  readonly #duePart: number;
  #timer: unknown;
  #live: Pick<LiveState, 'features' | 'skewMs'> | undefined;
  #asked: DeviceCredentials | undefined;
  /** The relay's time of day less our monotonic clock; undefined while no relay renews. */
  #relayAheadMs: number | undefined;
  #failure: ZlError | undefined;

  constructor(deps: RenewalDeps) {
    this.#deps = deps;
    this.#duePart = DUE.part + DUE.spread * deps.random();
  }

  /** Why the last attempt failed; undefined after one that did not. */
  get failure(): ZlError | undefined {
    return this.#failure;
  }

  /** A relay welcomed the device; told again of the same connection, it does nothing. */
  attached(live: Pick<LiveState, 'features' | 'skewMs'>): void {
    if (live === this.#live) return;
    this.detached();
    this.#live = live;
    const { features, skewMs } = live;
    if (!features.includes(RENEWAL_FEATURE)) return;
    const { clock } = this.#deps;
    // The clock of a device may be wrong, and the relay judges the credential by its own.
    this.#relayAheadMs = clock.nowMs() - (skewMs ?? 0) - clock.monotonicMs();
    this.#look();
  }

  detached(): void {
    this.#deps.clock.clearTimeout(this.#timer);
    this.#live = undefined;
    this.#asked = undefined;
    this.#relayAheadMs = undefined;
  }

  /** Takes a CREDENTIAL frame. One that nobody waits for changes nothing. */
  hear({ payload }: Pick<Frame, 'payload'>): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    this.#asked = undefined;
    this.#take(readMessage(CredentialSchema, payload), asked).then(
      () => this.#ended(undefined),
      (reason: unknown) => this.#ended(fromUnknown(reason)),
    );
  }

  #look(): void {
    this.#askWhenDue().catch((reason: unknown) => this.#ended(fromUnknown(reason)));
  }

  async #askWhenDue(): Promise<void> {
    const identity = await this.#deps.loadIdentity();
    const relayAheadMs = this.#relayAheadMs;
    if (relayAheadMs === undefined || this.#asked !== undefined) return;
    const { issuedAtMs, expiresAtMs } = readDeviceCredential(identity.credential).value ?? {};
    // Without both times it has no half life.
    if (issuedAtMs === undefined || expiresAtMs === undefined) return;
    const dueMs = issuedAtMs + (expiresAtMs - issuedAtMs) * this.#duePart;
    const leftMs = dueMs - (this.#deps.clock.monotonicMs() + relayAheadMs);
    if (leftMs > 0) this.#lookIn(Math.min(leftMs, LOOK_AGAIN_MS));
    else await this.#ask(identity);
  }

  async #ask(identity: DeviceCredentials): Promise<void> {
    this.#asked = identity;
    const { credential, key } = identity;
    const proof = await signRenewal(key, credential);
    if (this.#asked !== identity) return;
    const payload = toBinary(RenewSchema, create(RenewSchema, { credential, proof }));
    this.#deps.send(controlFrame(FrameKind.RENEW, payload));
    this.#set(ANSWER_WITHIN_MS, () => {
      this.#asked = undefined;
      this.#ended(new ZlError('relay.unreachable', 'the relay does not answer'));
    });
  }

  async #take(
    answer: { readonly credential: string; readonly errorId: string } | undefined,
    asked: DeviceCredentials,
  ): Promise<void> {
    const { credential = '', errorId = '' } = answer ?? {};
    if (credential === '') {
      const id = isErrorId(errorId) ? errorId : 'device.credential_invalid';
      throw new ZlError(id, `the credential is not renewed: ${errorId || 'no reason given'}`);
    }
    const fault = successorFault(credential, asked);
    if (fault !== undefined) {
      const message = `the relay sent a credential that is not the next one: ${fault}`;
      throw new ZlError('device.credential_invalid', message);
    }
    await this.#deps.save(credential);
  }

  #ended(failure: ZlError | undefined): void {
    this.#failure = failure;
    this.#deps.onEnded(failure);
    if (failure === undefined) this.#backoff.reset();
    if (this.#relayAheadMs === undefined) return;
    if (failure === undefined) this.#look();
    else this.#lookIn(this.#backoff.nextMs());
  }

  #lookIn(delayMs: number): void {
    this.#set(delayMs, () => this.#look());
  }

  #set(delayMs: number, run: () => void): void {
    const { clock } = this.#deps;
    clock.clearTimeout(this.#timer);
    this.#timer = clock.setTimeout(run, delayMs);
  }
}
