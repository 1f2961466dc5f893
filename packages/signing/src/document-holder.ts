import type { Digest } from './canonical-json.ts';
import type { FloorPort } from './document-floor.ts';
import {
  ageOf,
  type DocumentHead,
  type DocumentKind,
  type DocumentRefusal,
  DocumentRefused,
  documentName,
  lifetimeOf,
  MAX_CLOCK_SKEW_MS,
  openDocument,
  refuse,
  type SignedDocument,
  verifyDocument,
} from './signed-document.ts';

export type DocumentState<T> =
  | { readonly state: 'none' }
  | {
      readonly state: 'active' | 'stale' | 'expired';
      readonly content: T;
      readonly digest: Digest;
      /** Such as office@3. */
      readonly name: string;
      /** Infinity for a document that does not expire. */
      readonly expiresAtMs: number;
    };

export type Offer<T> =
  | { readonly installed: SignedDocument<T> }
  | { readonly unchanged: true }
  /** `dropped`: the document in force went too, because its key is no longer trusted. */
  | (DocumentRefusal & { readonly dropped: boolean });

export interface DocumentHolderOptions {
  readonly floor: FloorPort;
  /** SPKI PEM texts. */
  readonly keys?: readonly string[];
}

/** How often the floor is written again so that it knows the time. */
const SEEN_EVERY_MS = 60 * 60 * 1000;

type Listener<T> = (now: DocumentState<T>) => void;

function clockFault(nowMs: number, seenMs: number): DocumentRefused | undefined {
  if (nowMs >= seenMs - MAX_CLOCK_SKEW_MS) return undefined;
  const [now, seen] = [nowMs, seenMs].map((ms) => new Date(ms).toISOString());
  const message = `the clock shows ${now}, and a document was in force at ${seen}`;
  return new DocumentRefused('clock.behind', 'clock_behind', message);
}

/**
 * The document in force.
 *
 *   none --offer--> active --expiresAt--> stale --graceMs--> expired
 *     ^               ^ |                   |                   |
 *     |               +-+------ offer ------+-------------------+
 *     +---- its key is no longer trusted ---- any of them
 *
 * An offer takes effect whole or not at all. Time alone moves the state to the
 * right, and back when the clock is set back, but never behind the time that the
 * floor has seen. A kind without a lifetime stays active. Whoever looks first, by
 * note() or by an offer, notices the change.
 */
export class DocumentHolder<T extends DocumentHead> {
  readonly kind: DocumentKind<T>;
  readonly #floor: FloorPort;
  readonly #listeners: Listener<T>[] = [];
  #keys: readonly string[];
  #held: SignedDocument<T> | undefined;
  #envelopeText = '';
  /** The floor's time: a document that was stale by then is not active again. */
  #seenMs = 0;
  #lastOffer: Promise<unknown> = Promise.resolve();
  #noted: { readonly held: SignedDocument<T> | undefined; readonly state: string } | undefined;

  constructor(kind: DocumentKind<T>, { floor, keys = [] }: DocumentHolderOptions) {
    this.kind = kind;
    this.#floor = floor;
    this.#keys = keys;
  }

  /** Called at the first look and for each later change of the document or its state, before note() returns. */
  onChange(listener: Listener<T>): void {
    this.#listeners.push(listener);
  }

  /** Reads the clock and reports what has changed. */
  note(nowMs: number): DocumentState<T> {
    this.#keepTime(nowMs);
    const now = this.current(nowMs);
    if (this.#noted?.state === now.state && this.#noted.held === this.#held) return now;
    this.#noted = { held: this.#held, state: now.state };
    for (const listener of this.#listeners) listener(now);
    return now;
  }

  /** Reports nothing, so any clock will do. */
  current(nowMs: number): DocumentState<T> {
    if (this.#held === undefined) return { state: 'none' };
    const { content, digest } = this.#held;
    const { expiresAtMs } = lifetimeOf(this.kind, content);
    const state = ageOf(this.kind, content, Math.max(nowMs, this.#seenMs));
    return { state, content, digest, name: documentName(content), expiresAtMs };
  }

  /**
   * Never rejects. One at a time, so that a slow older offer cannot overtake a
   * newer one. Keys that come with it count from here on: both are seen
   * together, so that a change of keys drops nothing that stays signed.
   */
  offer(envelopeText: string, nowMs: number, keys?: readonly string[]): Promise<Offer<T>> {
    const offer = this.#lastOffer.then(() => {
      this.#keys = keys ?? this.#keys;
      return this.#consider(envelopeText, nowMs);
    });
    this.#lastOffer = offer;
    return offer;
  }

  /** New keys without an envelope: true when they no longer vouch for the document in force. */
  trust(keys: readonly string[], nowMs: number): Promise<boolean> {
    const trusted = this.#lastOffer.then(() => {
      this.#keys = keys;
      return this.#dropUntrusted(nowMs);
    });
    this.#lastOffer = trusted;
    return trusted;
  }

  async #consider(envelopeText: string, nowMs: number): Promise<Offer<T>> {
    try {
      const floor = await this.#floor.load();
      this.#seenMs = Math.max(this.#seenMs, floor?.seenMs ?? 0);
      const behind = clockFault(nowMs, this.#seenMs);
      if (behind !== undefined) {
        return { error: behind, dropped: this.#dropUntrusted(nowMs) };
      }
      const verified = verifyDocument(this.kind, envelopeText, {
        keys: this.#keys,
        nowMs: Math.max(nowMs, this.#seenMs),
        floor,
      });
      if ('error' in verified) return { ...verified, dropped: this.#dropUntrusted(nowMs) };
      if (this.#held?.digest === verified.digest) {
        // Another key may have signed the same content.
        this.#envelopeText = envelopeText;
        return { unchanged: true };
      }
      const { id, version } = verified.content;
      // First, so that no crash can bring an older version back.
      const seenMs = Math.max(nowMs, this.#seenMs);
      await this.#floor.save({ id, version, digest: verified.digest, seenMs });
      this.#seenMs = seenMs;
      this.#held = verified;
      this.#envelopeText = envelopeText;
      this.note(nowMs);
      return { installed: verified };
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const refusal = refuse(this.kind, 'unreadable', why, { cause });
      return { ...refusal, dropped: this.#dropUntrusted(nowMs) };
    }
  }

  #keepTime(nowMs: number): void {
    if (this.#held === undefined || nowMs < this.#seenMs + SEEN_EVERY_MS) return;
    this.#seenMs = nowMs;
    const { content, digest } = this.#held;
    const { id, version } = content;
    // A floor that cannot be written is reported by the next offer.
    this.#lastOffer = this.#lastOffer
      .then(() => this.#floor.save({ id, version, digest, seenMs: nowMs }))
      .catch(() => {});
  }

  #dropUntrusted(nowMs: number): boolean {
    if (this.#held === undefined || this.#keys.some((key) => this.#isSignedBy(key))) return false;
    this.#held = undefined;
    this.note(nowMs);
    return true;
  }

  /** Key by key: a key that cannot be read must not keep what a revoked one signed. */
  #isSignedBy(key: string): boolean {
    try {
      return !('error' in openDocument(this.kind, this.#envelopeText, [key]));
    } catch {
      // Reported where the keys are offered.
      return false;
    }
  }
}
