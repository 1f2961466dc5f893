import { type ErrorId, ZlError } from '@zerolatency/errors';
import { LRUCache } from 'lru-cache';
import { canonicalJson, type Digest, digestOfBytes } from './canonical-json.ts';
import { type Floor, rollbackFault } from './document-floor.ts';
import { signEnvelope, verifyEnvelope } from './envelope.ts';
import { type Signer, type Verifier, verifierFromPem } from './keys.ts';

/** What every signed document says about itself. */
export interface DocumentHead {
  /** Name and version of the schema, such as zerolatency.policy/v1. */
  readonly schema: string;
  readonly id: string;
  readonly version: number;
  /** UTC, RFC 3339. */
  readonly issuedAt: string;
  /** Digest of the version before this one. */
  readonly previousDigest?: string;
}

/** One kind of signed document: policy bundles, server manifests. */
export interface DocumentKind<T extends DocumentHead> {
  /** In messages, such as "policy bundle". */
  readonly name: string;
  /** In messages: what happens without a document of this kind. */
  readonly withoutIt: string;
  /** The id's field in log lines. */
  readonly logField: string;
  readonly errorId: ErrorId;
  readonly payloadType: string;
  readonly schema: T['schema'];
  check(value: unknown): { readonly content: T } | { readonly fault: string };
  /** Absent for documents that do not expire. */
  readonly lifetimeOf?: (content: T) => DocumentLifetime;
}

export interface DocumentLifetime {
  readonly expiresAtMs: number;
  /** How long after that the document is stale before it has expired. */
  readonly graceMs: number;
}

export interface SignedDocument<T> {
  readonly content: T;
  /** Covers the canonical payload, so it equals digestOf(content). */
  readonly digest: Digest;
  readonly keyids: readonly string[];
}

/** In the order of the checks. */
export const REFUSAL_REASONS = [
  /** The document, a key or the floor cannot be read or written. */
  'unreadable',
  /** No valid signature of a known key. */
  'signature',
  /** A schema version that this program does not know yet. */
  'newer_schema',
  /** Not a document of this kind, signed or not. */
  'malformed',
  /** Issued in the future. */
  'not_yet',
  /** Past its grace. */
  'expired',
  /** Older than the version accepted before, or a different document of that version. */
  'rolled_back',
  /** Follows another document than the one accepted before. */
  'wrong_predecessor',
  /** The clock is far behind a time at which a document was in force. */
  'clock_behind',
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** A document that was not accepted: a message for people and a reason for counters. */
export class DocumentRefused extends ZlError {
  readonly reason: RefusalReason;

  constructor(id: ErrorId, reason: RefusalReason, message: string, options?: ErrorOptions) {
    super(id, message, options);
    this.reason = reason;
  }
}

export interface DocumentRefusal {
  readonly error: DocumentRefused;
}

/** By PEM text, because every look at a file asks with the same few keys. */
const verifiers = new LRUCache<string, Verifier>({ max: 64, memoMethod: verifierFromPem });

interface VerifyRules {
  /** SPKI PEM texts; one valid signature is enough. */
  readonly keys: readonly string[];
  readonly nowMs: number;
  readonly floor?: Floor | undefined;
}

/** How far the signer's clock may be ahead of ours. */
export const MAX_CLOCK_SKEW_MS = 5 * 60 * 1000;

/** Returns the envelope as JSON text. Throws for content that no reader would accept. */
export async function signDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  content: T,
  signers: readonly Signer[],
): Promise<string> {
  const checked = checkDocument(kind, content);
  if ('error' in checked) throw checked.error;
  const payload = canonicalJson(checked.content);
  return await signEnvelope({ payloadType: kind.payloadType, payload, keys: signers });
}

/** Accepts a document that may be used now, in its grace too. */
export function verifyDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  envelopeText: string,
  { keys, nowMs, floor }: VerifyRules,
): SignedDocument<T> | DocumentRefusal {
  const opened = openDocument(kind, envelopeText, keys);
  if ('error' in opened) return opened;
  const { content, digest } = opened;
  if (Date.parse(content.issuedAt) > nowMs + MAX_CLOCK_SKEW_MS) {
    return refuse(kind, 'not_yet', `it was issued in the future, at ${content.issuedAt}`);
  }
  if (ageOf(kind, content, nowMs) === 'expired') {
    const { expiresAtMs } = lifetimeOf(kind, content);
    return refuse(kind, 'expired', `it expired at ${new Date(expiresAtMs).toISOString()}`);
  }
  const { id, version, previousDigest } = content;
  const fault = rollbackFault(floor, { id, version, digest, previousDigest });
  return fault === undefined ? opened : refuse(kind, fault.reason, fault.message);
}

/** Checks signature and content, whatever the age and version. */
export function openDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  envelopeText: string,
  keys: readonly string[],
): SignedDocument<T> | DocumentRefusal {
  const { payloadType } = kind;
  const verdict = verifyEnvelope(envelopeText, {
    payloadType,
    keys: keys.map((pem) => verifiers.memo(pem)),
  });
  if (verdict.error !== undefined) {
    const { fault, message } = verdict.error;
    const isUnsigned = fault === 'unknown_key' || fault === 'bad_signature';
    return refuse(kind, isUnsigned ? 'signature' : 'malformed', message);
  }
  const { payload, keyids } = verdict.value;
  const value = parseCanonical(payload);
  if (value === undefined) {
    return refuse(kind, 'malformed', 'the payload is not canonical JSON (RFC 8785)');
  }
  const checked = checkDocument(kind, value);
  if ('error' in checked) return checked;
  return { content: deepFreeze(checked.content), digest: digestOfBytes(payload), keyids };
}

/** Checks content that may not be signed yet. Schemas are closed to typos and open to versions. */
export function checkDocument<T extends DocumentHead>(
  kind: DocumentKind<T>,
  value: unknown,
): { readonly content: T } | DocumentRefusal {
  const newer = newerSchema(kind.schema, value);
  if (newer !== undefined) {
    const why = `it is signed for a newer version: its schema is ${newer}, and this one reads ${kind.schema}`;
    return refuse(kind, 'newer_schema', why);
  }
  const checked = kind.check(value);
  if ('content' in checked) return checked;
  const message = `not a ${kind.name}: ${checked.fault}`;
  return { error: new DocumentRefused(kind.errorId, 'malformed', message) };
}

export function ageOf<T extends DocumentHead>(
  kind: DocumentKind<T>,
  content: T,
  nowMs: number,
): 'active' | 'stale' | 'expired' {
  const { expiresAtMs, graceMs } = lifetimeOf(kind, content);
  if (nowMs < expiresAtMs) return 'active';
  return nowMs < expiresAtMs + graceMs ? 'stale' : 'expired';
}

export function lifetimeOf<T extends DocumentHead>(
  kind: DocumentKind<T>,
  content: T,
): DocumentLifetime {
  return kind.lifetimeOf?.(content) ?? { expiresAtMs: Number.POSITIVE_INFINITY, graceMs: 0 };
}

/** How receipts, logs and status name a document. */
export function documentName({ id, version }: Pick<DocumentHead, 'id' | 'version'>): string {
  return `${id}@${version}`;
}

export function refuse<T extends DocumentHead>(
  kind: DocumentKind<T>,
  reason: RefusalReason,
  why: string,
  options?: ErrorOptions,
): DocumentRefusal {
  const message = `${kind.name} refused: ${why}`;
  return { error: new DocumentRefused(kind.errorId, reason, message, options) };
}

const SCHEMA_VERSION = /^(.+\/v)([1-9][0-9]{0,8})$/;

function newerSchema(known: string, value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('schema' in value)) return undefined;
  const [, family, version] = SCHEMA_VERSION.exec(String(value.schema)) ?? [];
  const [, ownFamily, ownVersion] = SCHEMA_VERSION.exec(known) ?? [];
  const isNewer = family === ownFamily && Number(version) > Number(ownVersion);
  return isNewer ? String(value.schema) : undefined;
}

/** Refuses other spellings, such as a key given twice, which two readers may take differently. */
function parseCanonical(payload: Uint8Array): unknown {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    return Buffer.from(payload).equals(canonicalJson(value)) ? value : undefined;
  } catch {
    // Signed, and still not JSON: the caller's message says all there is to say.
    return undefined;
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
