import { type KeyObject, randomBytes } from 'node:crypto';
import { type ErrorId, fromUnknown, ZlError } from '@zerolatency/errors';
import {
  type DeviceIdentity,
  enrolmentCodeHash,
  parseEnrolmentCode,
  parseName,
  verifyEnrolmentProof,
} from '@zerolatency/identity';
import { AddressGate, Bucket } from '@zerolatency/service/network';
import { LogThrottle } from '@zerolatency/service/telemetry';
import type { Clock, Log } from '../ports.ts';
import type { CodeStore, Invitation } from './code-store.ts';
import { codeIdOf } from './invitations.ts';
import type { RevocationAuthority } from './revocation-authority.ts';

/** Signs credentials, each later than any revocation. Its key may be in a file or in a key management service. */
export interface CredentialIssuer {
  issue(
    device: DeviceIdentity,
    devicePublicKey: KeyObject,
  ): Promise<{ readonly credential: string; readonly expiresAtMs: number }>;
}

interface SignedFile {
  readonly envelope: string;
  readonly publicKeysPem: readonly string[];
}

/** What a device needs beside its credential. */
export interface DeviceFiles {
  readonly relayUrls: readonly string[];
  readonly relayCaPem: string;
  readonly policy: SignedFile;
  readonly manifest: SignedFile;
}

export interface EnrolmentsDeps {
  readonly codes: CodeStore;
  readonly issuer: CredentialIssuer;
  /** Undefined where nothing can be revoked. */
  readonly revocations: Pick<RevocationAuthority, 'fault' | 'enrolledAgain'> | undefined;
  readonly readDeviceFiles: () => Promise<DeviceFiles>;
  /** For those who verify receipts of the device. */
  readonly keepPublicKey: (devicePublicKey: KeyObject) => Promise<void>;
  /** The origin that proofs name. */
  readonly audience: () => string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onEnded: (errorId: ErrorId | 'none') => void;
}

export interface EnrolmentRequest {
  readonly code: string;
  readonly deviceKeyJwk: string;
  readonly proof: string;
  readonly deviceId: string;
  readonly platform: string;
}

export interface Enrolled extends DeviceIdentity, DeviceFiles {
  readonly credential: string;
  readonly expiresAtMs: number;
}

/** Characters that an attacker cannot choose, so that a proposed name never hits another device. */
const SUFFIX_BYTES = 5;
/** A name and its suffix are a device name. */
const MAX_WISHED_CHARS = 100;
const PLATFORM = /^[\w .()/-]{0,64}$/;
/** Such as one that a person mistyped. */
const LINES_A_MINUTE = 10;

/** Gives credentials for one-time codes. */
export class Enrolments {
  readonly #deps: EnrolmentsDeps;
  readonly #attempts: Attempts;
  readonly #throttle = new LogThrottle(LINES_A_MINUTE);

  constructor(deps: EnrolmentsDeps) {
    this.#deps = deps;
    this.#attempts = new Attempts(deps.clock.monotonicMs());
  }

  async enrol(request: EnrolmentRequest, address: string): Promise<Enrolled> {
    try {
      const enrolled = await this.#enrol(request, address);
      this.#deps.onEnded('none');
      return enrolled;
    } catch (reason) {
      const error = fromUnknown(reason);
      this.#deps.onEnded(error.id);
      this.#logRefusal(error, address);
      throw error;
    }
  }

  async #enrol(request: EnrolmentRequest, address: string): Promise<Enrolled> {
    const { codes, revocations, audience, clock, log } = this.#deps;
    const faulty = faultIn(request);
    if (faulty !== undefined) throw faulty;
    // A mistyped code goes the way of an unknown one, so that the answer says nothing of either.
    const code = parseEnrolmentCode(request.code).value ?? '';
    const codeHash = enrolmentCodeHash(code);
    if (!this.#attempts.take(address, clock.monotonicMs()) && !(await codes.has(codeHash))) {
      throw new ZlError('limit.exceeded', 'too many enrolments with codes that cannot be used');
    }
    const { deviceKeyJwk: jwk, proof } = request;
    const claim = { codeHash, audience: audience(), nowMs: clock.unixMs() };
    const { value: devicePublicKey, error } = await verifyEnrolmentProof({ jwk, proof }, claim);
    // Before the code is taken: whoever only saw a proof cannot use it up.
    if (error !== undefined) throw new ZlError('enrolment.proof_invalid', error);
    const invitation = this.#usable(await codes.take(codeHash));
    const enrolled = await this.#issue(invitation, devicePublicKey, request).catch(
      async (cause: unknown) => {
        log.error({ err: cause }, 'no credential issued; correct what the error names');
        // Nothing was given for it.
        await codes.add(codeHash, invitation);
        throw new ZlError('peer.unavailable', 'the registrar cannot issue credentials', { cause });
      },
    );
    // The device may have been revoked while the issuer signed.
    this.#usable(invitation);
    const { tenant, deviceId, expiresAtMs } = enrolled;
    await revocations?.enrolledAgain({ tenant, deviceId }).catch((err: unknown) => {
      const why = 'until it connects, hosts are told that the device is revoked';
      log.warn(
        { err, tenant, deviceId },
        `the list does not say that a device enrolled again; ${why}`,
      );
    });
    const replacesEarlier = invitation.deviceId !== '';
    const { platform } = request;
    const codeId = codeIdOf(codeHash);
    log.info(
      { tenant, deviceId, replacesEarlier, codeId, platform, address, expiresAtMs },
      'device enrolled',
    );
    return enrolled;
  }

  /** Throws the one answer for every code that cannot be used. */
  #usable(invitation: Invitation | undefined): Invitation {
    const isRevoked = invitation && this.#deps.revocations?.fault(invitation) !== undefined;
    if (invitation !== undefined && !isRevoked) return invitation;
    throw new ZlError('enrolment.refused', 'the code cannot be used');
  }

  async #issue(
    { tenant, deviceId: bound }: Invitation,
    devicePublicKey: KeyObject,
    { deviceId: wished }: EnrolmentRequest,
  ): Promise<Enrolled> {
    const { issuer, readDeviceFiles, keepPublicKey } = this.#deps;
    const deviceId = bound === '' ? withSuffix(wished || 'device') : bound;
    const files = await readDeviceFiles();
    await keepPublicKey(devicePublicKey);
    const issued = await issuer.issue({ tenant, deviceId }, devicePublicKey);
    return { tenant, deviceId, ...issued, ...files };
  }

  #logRefusal(error: ZlError, address: string): void {
    const { id: errorId, message, help } = error;
    const nowMs = this.#deps.clock.monotonicMs();
    const unlogged = this.#throttle.take(errorId, nowMs);
    if (unlogged === undefined) return;
    const fields = { errorId, address, count: unlogged + 1, help };
    const advice =
      errorId === 'limit.exceeded'
        ? '; somebody guesses codes, so block the address if it is always the same'
        : '';
    this.#deps.log.warn(fields, `enrolment refused: ${message}${advice}`);
  }
}

/** A person mistypes a few times; bursts of ten times as many. */
const PER_SECOND_AND_ADDRESS = 1;
/** For all addresses: a fraction of a core, since a proof takes about a millisecond. */
const IN_ALL = { burst: 200, perSecond: 50 };

/** How often proofs of unknown codes are verified. Known codes are not held back, so no flood of guesses can do that. */
class Attempts {
  readonly #addresses = new AddressGate(PER_SECOND_AND_ADDRESS);
  readonly #all: Bucket;

  constructor(nowMs: number) {
    this.#all = new Bucket(IN_ALL, nowMs);
  }

  take(address: string, nowMs: number): boolean {
    return this.#addresses.admit(address, nowMs) && this.#all.take(nowMs);
  }
}

function withSuffix(name: string): string {
  return `${name}-${randomBytes(SUFFIX_BYTES).toString('hex')}`;
}

/** What is wrong with the request whatever its code is. */
function faultIn({ deviceId, platform }: EnrolmentRequest): ZlError | undefined {
  const name = deviceId === '' ? undefined : parseName('device', deviceId).error;
  const fault = name ?? (deviceId.length > MAX_WISHED_CHARS ? 'is too long' : undefined);
  if (fault !== undefined) return invalid('device_id', fault);
  if (PLATFORM.test(platform)) return undefined;
  return invalid('platform', 'may have 64 letters, digits, spaces and "_.()/-"');
}

function invalid(field: string, why: string): ZlError {
  return new ZlError('request.invalid', `${field} ${why}`, { field });
}
