import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Digest } from '@zerolatency/signing';
import { type Bundle, policyId } from './bundle.ts';
import { BundleRefused } from './bundle-refused.ts';
import { decide } from './decide.ts';
import type { FloorPort } from './floor.ts';
import type { Decision, Deny, PolicyRequest } from './request.ts';
import { ageOf, readBundle, type VerifiedBundle, verifyBundle } from './verify-bundle.ts';
import { isVouchedFor } from './vouched-for.ts';

export type BundleState =
  | { readonly state: 'none' }
  | {
      readonly state: 'active' | 'stale' | 'expired';
      readonly bundle: Bundle;
      readonly digest: Digest;
      readonly policyId: string;
      readonly expiresAtMs: number;
    };

export type Offer =
  | { readonly installed: VerifiedBundle }
  | { readonly unchanged: true }
  | { readonly error: BundleRefused };

/** Both empty where there is no bundle. */
export type HeldDecision = Decision & { readonly policyId: string; readonly policyDigest: string };

export interface BundleHolderOptions {
  readonly keys: readonly string[];
  readonly floor: FloorPort;
  /**
   * Told what is decided by from here on: at the first look, and whenever the
   * bundle or its state is another. A decision under it comes after.
   */
  readonly onChange?: ((now: BundleState) => void) | undefined;
}

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
 *
 * What time does is seen by whoever looks first: a decision, or note().
 */
export class BundleHolder {
  #keys: readonly string[];
  readonly #floor: FloorPort;
  #held: Held | undefined;
  readonly #onChange: ((now: BundleState) => void) | undefined;
  #lastOffer: Promise<unknown> = Promise.resolve();
  #told: { readonly held: Held | undefined; readonly state: BundleState['state'] } | undefined;

  constructor({ keys, floor, onChange }: BundleHolderOptions) {
    this.#keys = keys;
    this.#floor = floor;
    this.#onChange = onChange;
  }

  /** Looks at the clock: what it has changed is told. */
  note(nowMs: number): BundleState {
    const now = this.current(nowMs);
    if (this.#told?.state === now.state && this.#told.held === this.#held) return now;
    this.#told = { held: this.#held, state: now.state };
    this.#onChange?.(now);
    return now;
  }

  /** Looks only, by whichever clock. */
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
    const current = this.note(request.nowMs);
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
  trust(keys: readonly string[], nowMs: number): void {
    this.#keys = keys;
    const text = this.#held?.envelopeText;
    if (text === undefined || isVouchedFor(keys, (some) => readBundle(text, some))) return;
    this.#held = undefined;
    this.note(nowMs);
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
      this.note(nowMs);
      return { installed: verified };
    } catch (reason) {
      return { error: unreadable(reason) };
    }
  }
}

/** What keeps an offer from being judged at all: keys or a floor that cannot be read. */
function unreadable(cause: unknown): BundleRefused {
  const why = cause instanceof Error ? cause.message : fromUnknown(cause).message;
  const message = cause instanceof ZlError ? why : `policy bundle refused: ${why}`;
  return new BundleRefused('unreadable', message, { cause });
}

function unavailable(reason: string): Deny {
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.unavailable' };
}
