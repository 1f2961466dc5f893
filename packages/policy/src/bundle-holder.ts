import { fromUnknown, ZlError } from '@zerolatency/errors';
import { type Bundle, policyId } from './bundle.ts';
import { decide } from './decide.ts';
import type { FloorPort } from './floor.ts';
import type { Decision, Deny, PolicyRequest } from './request.ts';
import { ageOf, readBundle, type VerifiedBundle, verifyBundle } from './verify-bundle.ts';

export type BundleState =
  | { readonly state: 'none' }
  | {
      readonly state: 'active' | 'stale' | 'expired';
      readonly bundle: Bundle;
      readonly digest: string;
      readonly policyId: string;
      readonly expiresAtMs: number;
    };

export type Offer =
  | { readonly installed: VerifiedBundle }
  | { readonly unchanged: true }
  | { readonly error: ZlError };

/** Both empty where there is no bundle. */
export type HeldDecision = Decision & { readonly policyId: string; readonly policyDigest: string };

interface Held extends VerifiedBundle {
  readonly envelopeText: string;
}

/**
 * The bundle in force.
 *
 *   none --offer--> active --expiresAt--> stale --graceMs--> expired
 *     ^               ^ |                   |                   |
 *     |               +-+------ offer ------+-------------------+
 *     +---- its key is trusted no more ---- any of them
 *
 * An offer takes hold whole or not at all. Time alone moves it to the right,
 * and back when the clock is set back. Stale: only rules marked duringGrace
 * allow. Expired and none: every tool is denied, and chat goes on.
 */
export class BundleHolder {
  #keys: readonly string[];
  readonly #floor: FloorPort;
  #held: Held | undefined;
  #lastOffer: Promise<unknown> = Promise.resolve();

  constructor({ keys, floor }: { readonly keys: readonly string[]; readonly floor: FloorPort }) {
    this.#keys = keys;
    this.#floor = floor;
  }

  current(nowMs: number): BundleState {
    const held = this.#held;
    if (held === undefined) return { state: 'none' };
    const { bundle, digest } = held;
    return {
      state: ageOf(bundle, nowMs),
      bundle,
      digest,
      policyId: policyId(bundle),
      expiresAtMs: Date.parse(bundle.expiresAt),
    };
  }

  decide(request: PolicyRequest): HeldDecision {
    const current = this.current(request.nowMs);
    if (current.state === 'none') {
      return { ...unavailable('there is no policy bundle'), policyId: '', policyDigest: '' };
    }
    const { state, bundle, digest: policyDigest } = current;
    const decision =
      state === 'expired'
        ? unavailable(`policy bundle ${current.policyId} expired at ${bundle.expiresAt}`)
        : decide(bundle, request, { inGrace: state === 'stale' });
    return { ...decision, policyId: current.policyId, policyDigest };
  }

  /** Never rejects. One at a time, so that a slow older offer cannot overtake a newer one. */
  offer(envelopeText: string, nowMs: number): Promise<Offer> {
    const offer = this.#lastOffer.then(() => this.#consider(envelopeText, nowMs));
    this.#lastOffer = offer;
    return offer;
  }

  /** Drops what the new keys would not have let in. */
  trust(keys: readonly string[]): void {
    this.#keys = keys;
    if (this.#held !== undefined && 'error' in readBundle(this.#held.envelopeText, keys)) {
      this.#held = undefined;
    }
  }

  async #consider(envelopeText: string, nowMs: number): Promise<Offer> {
    try {
      const floor = await this.#floor.load();
      const verified = verifyBundle(envelopeText, { keys: this.#keys, nowMs, floor });
      if ('error' in verified) return verified;
      if (this.#held?.digest === verified.digest) return { unchanged: true };
      const { id, version } = verified.bundle;
      // First, so that no crash can bring an older one back.
      await this.#floor.save({ id, version, digest: verified.digest });
      this.#held = { ...verified, envelopeText };
      return { installed: verified };
    } catch (reason) {
      return { error: asPolicyError(reason) };
    }
  }
}

function asPolicyError(reason: unknown): ZlError {
  if (reason instanceof ZlError) return reason;
  const why = reason instanceof Error ? reason.message : fromUnknown(reason).message;
  return new ZlError('policy.invalid', `policy bundle refused: ${why}`, { cause: reason });
}

function unavailable(reason: string): Deny {
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.unavailable' };
}
