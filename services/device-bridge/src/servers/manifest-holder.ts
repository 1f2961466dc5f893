import { fromUnknown, ZlError } from '@zerolatency/errors';
import {
  type FloorPort,
  isVouchedFor,
  readManifest,
  type VerifiedManifest,
  verifyManifest,
} from '@zerolatency/policy';

export type ManifestOffer =
  | { readonly installed: VerifiedManifest }
  | { readonly unchanged: true }
  /** `dropped`: what was in force is not, because its key is trusted no more. */
  | { readonly error: ZlError; readonly dropped: boolean };

interface Trust {
  /** SPKI PEM texts. */
  readonly keys: readonly string[];
  readonly nowMs: number;
}

interface Held extends VerifiedManifest {
  readonly envelopeText: string;
}

/**
 * The manifest in force.
 *
 *   none --good offer--> active --good offer--> active ...
 *     ^                    |
 *     +-- its key is trusted no more
 *
 * An offer takes hold whole or not at all; what is refused leaves the one before it.
 */
export class ManifestHolder {
  readonly #floor: FloorPort;
  #held: Held | undefined;

  constructor(floor: FloorPort) {
    this.#floor = floor;
  }

  get current(): VerifiedManifest | undefined {
    return this.#held;
  }

  /** Never rejects. Envelope and keys are seen together, so that a change of keys stops no server. */
  async offer(envelopeText: string, trust: Trust): Promise<ManifestOffer> {
    try {
      const floor = await this.#floor.load();
      const verified = verifyManifest(envelopeText, { ...trust, floor });
      if ('error' in verified) return { ...verified, dropped: this.#dropUntrusted(trust.keys) };
      const isKnown = this.#held?.digest === verified.digest;
      const { id, version } = verified.manifest;
      // First, so that no crash can bring an older one back.
      if (!isKnown) await this.#floor.save({ id, version, digest: verified.digest });
      this.#held = { ...verified, envelopeText };
      return isKnown ? { unchanged: true } : { installed: verified };
    } catch (reason) {
      return { error: asManifestError(reason), dropped: this.#dropUntrusted(trust.keys) };
    }
  }

  #dropUntrusted(keys: readonly string[]): boolean {
    const text = this.#held?.envelopeText;
    if (text === undefined || isVouchedFor(keys, (some) => readManifest(text, some))) return false;
    this.#held = undefined;
    return true;
  }
}

/** Of a floor or a key that cannot be read. */
function asManifestError(reason: unknown): ZlError {
  const why = reason instanceof Error ? reason.message : fromUnknown(reason).message;
  return new ZlError('manifest.invalid', `server manifest refused: ${why}`, { cause: reason });
}
