import { strictBase64 } from './base64.ts';
import { type Envelope, preAuthenticationEncoding } from './envelope.ts';
import type { Verifier } from './keys.ts';

export type EnvelopeFault =
  | 'malformed'
  | 'too_large'
  | 'payload_type'
  | 'unknown_key'
  | 'bad_signature';

export interface EnvelopeError {
  readonly fault: EnvelopeFault;
  readonly message: string;
}

export interface VerifiedEnvelope {
  readonly payloadType: string;
  /** The very bytes the signatures cover. Parse these and nothing else. */
  readonly payload: Uint8Array;
  /** Keys with a good signature, each once. */
  readonly keyids: readonly string[];
}

export interface EnvelopeRules {
  readonly payloadType: string;
  readonly keys: readonly Verifier[];
  /** How many different keys must have signed; 1 when not given. */
  readonly threshold?: number;
}

export type EnvelopeVerdict =
  | { readonly value: VerifiedEnvelope; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: EnvelopeError };

type Parsed = { envelope: Envelope } | { error: EnvelopeError };

/** Bundles, manifests and receipts are a few KiB; this is room for a large fleet's policy. */
export const MAX_ENVELOPE_BYTES = 4 * 1024 * 1024;

/** Each one costs a signature check. */
const MAX_SIGNATURES = 16;

/** Of JSON text, its bytes, or an envelope found inside other parsed JSON. */
export function verifyEnvelope(input: unknown, rules: EnvelopeRules): EnvelopeVerdict {
  const parsed = parseEnvelope(input);
  if ('error' in parsed) return parsed;
  const { envelope } = parsed;
  if (envelope.payloadType !== rules.payloadType) {
    return fail('payload_type', `payloadType is not ${rules.payloadType}`);
  }
  const payload = strictBase64(envelope.payload);
  if (payload === undefined) return fail('malformed', 'payload is not base64');
  return judge(envelope, payload, rules);
}

function judge(envelope: Envelope, payload: Uint8Array, rules: EnvelopeRules): EnvelopeVerdict {
  const signed = preAuthenticationEncoding(envelope.payloadType, payload);
  const good = new Set<string>();
  let known = 0;
  for (const { keyid, sig } of envelope.signatures) {
    const key = rules.keys.find((candidate) => candidate.keyid === keyid);
    if (key === undefined) continue;
    known++;
    const signature = strictBase64(sig);
    if (signature !== undefined && key.verify(signed, signature)) good.add(keyid);
  }
  const needed = Math.max(1, rules.threshold ?? 1);
  if (good.size >= needed) {
    return { value: { payloadType: envelope.payloadType, payload, keyids: [...good] } };
  }
  if (known < needed) return fail('unknown_key', `signed by ${known} known keys, not ${needed}`);
  return fail('bad_signature', `${good.size} good signatures, not ${needed}`);
}

function parseEnvelope(input: unknown): Parsed {
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) return shapeOf(input);
  if (input.length > MAX_ENVELOPE_BYTES) {
    return fail('too_large', `an envelope is at most ${MAX_ENVELOPE_BYTES} bytes`);
  }
  try {
    return shapeOf(JSON.parse(typeof input === 'string' ? input : utf8(input)));
  } catch {
    // What a peer sent is not ours to quote; that it cannot be read is all there is to say.
    return fail('malformed', 'the envelope is not JSON in UTF-8');
  }
}

function shapeOf(value: unknown): Parsed {
  if (!isObject(value)) return fail('malformed', 'the envelope is not an object');
  const { payloadType, payload, signatures } = value;
  if (typeof payloadType !== 'string') return fail('malformed', 'payloadType is not a string');
  if (typeof payload !== 'string') return fail('malformed', 'payload is not a string');
  if (!Array.isArray(signatures) || signatures.length > MAX_SIGNATURES) {
    return fail('malformed', `signatures is not an array of at most ${MAX_SIGNATURES}`);
  }
  if (!signatures.every(isSignature)) return fail('malformed', 'a signature is not {keyid, sig}');
  return { envelope: { payloadType, payload, signatures } };
}

function isSignature(value: unknown): value is { keyid: string; sig: string } {
  return isObject(value) && typeof value.keyid === 'string' && typeof value.sig === 'string';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

function fail(fault: EnvelopeFault, message: string): { error: EnvelopeError } {
  return { error: { fault, message } };
}
