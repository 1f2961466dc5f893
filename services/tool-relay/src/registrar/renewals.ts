import { createPublicKey } from 'node:crypto';
import { type ErrorId, fromUnknown, ZlError } from '@zerolatency/errors';
import { type KeySet, renewalFault, verifyDeviceCredential } from '@zerolatency/identity';
import { Bucket } from '@zerolatency/service/network';
import { LogThrottle } from '@zerolatency/service/telemetry';
import type { Clock, Log } from '../ports.ts';
import type { CredentialIssuer } from './enrolments.ts';
import type { RevocationAuthority } from './revocation-authority.ts';

export interface RenewalsDeps {
  readonly issuer: CredentialIssuer;
  /** The claim of the credentials that this authority issues. */
  readonly issuerName: string;
  readonly keys: KeySet['keys'];
  readonly revocations: Pick<RevocationAuthority, 'fault'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly onEnded: (errorId: ErrorId | 'none') => void;
}

export interface Renewed {
  readonly credential: string;
  readonly expiresAtMs: number;
}

/** A quarter of a core: a renewal takes about a millisecond. A million devices need 25 a second. */
const RATE = { burst: 1000, perSecond: 250 };
/** A relay is a name in a certificate of our authority, so there are few. */
const MAX_RELAYS = 1000;
const LINES_A_MINUTE = 10;

/** Gives devices that prove their key the successor of their credential. */
export class Renewals {
  readonly #deps: RenewalsDeps;
  readonly #rates = new Map<string, Bucket>();
  readonly #throttle = new LogThrottle(LINES_A_MINUTE);

  constructor(deps: RenewalsDeps) {
    this.#deps = deps;
  }

  async renew(request: { credential: string; proof: string }, relay: string): Promise<Renewed> {
    try {
      const renewed = await this.#renew(request, relay);
      this.#deps.onEnded('none');
      return renewed;
    } catch (reason) {
      const error = fromUnknown(reason);
      this.#deps.onEnded(error.id);
      const unlogged = this.#throttle.take(error.id, this.#deps.clock.monotonicMs());
      const fields = { errorId: error.id, relay, help: error.help };
      if (unlogged !== undefined) this.#deps.log.warn(fields, `renewal refused: ${error.message}`);
      throw error;
    }
  }

  async #renew({ credential, proof }: { credential: string; proof: string }, relay: string) {
    const { issuer, issuerName, keys, revocations, clock, log } = this.#deps;
    if (!this.#rateOf(relay).take(clock.monotonicMs())) {
      throw new ZlError('limit.exceeded', `${relay} asks for too many renewals`);
    }
    const nowMs = clock.unixMs();
    const rules = { nowMs, issuer: issuerName };
    const { value, error } = await verifyDeviceCredential(credential, keys(), rules);
    if (error !== undefined) throw invalid(`the credential is refused: ${error}`);
    const fault = await renewalFault(proof, value.key, { credential, nowMs });
    if (fault !== undefined) throw invalid(`the proof is refused: ${fault}`);
    const { device, issuedAtMs } = value;
    const revoked = revocations.fault({ ...device, issuedAtMs });
    if (revoked !== undefined) throw revoked;
    const publicKey = createPublicKey({ key: { ...value.key.jwk }, format: 'jwk' });
    const renewed = await issuer.issue(device, publicKey);
    log.info({ ...device, relay, expiresAtMs: renewed.expiresAtMs }, 'credential renewed');
    // It may have been revoked while the issuer signed.
    const since = revocations.fault({ ...device, issuedAtMs });
    if (since !== undefined) throw since;
    return renewed;
  }

  #rateOf(relay: string): Bucket {
    const known = this.#rates.get(relay);
    if (known !== undefined) return known;
    if (this.#rates.size >= MAX_RELAYS) this.#rates.clear();
    const rate = new Bucket(RATE, this.#deps.clock.monotonicMs());
    this.#rates.set(relay, rate);
    return rate;
  }
}

function invalid(message: string): ZlError {
  return new ZlError('device.credential_invalid', message);
}
