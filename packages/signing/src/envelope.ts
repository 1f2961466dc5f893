import type { Signer, Verifier } from './keys.ts';

/** The JSON form of a DSSE envelope (secure-systems-lab/dsse, v1). */
export interface Envelope {
  readonly payloadType: string;
  /** Base64. */
  readonly payload: string;
  /** Each `sig` in base64. */
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

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
  /** Exactly the bytes that the signatures cover. Parse these and nothing else. */
  readonly payload: Uint8Array;
  /** Keys with a valid signature, each once. */
  readonly keyids: readonly string[];
}

export interface EnvelopeRules {
  readonly payloadType: string;
  readonly keys: readonly Verifier[];
}

export type EnvelopeVerdict =
  | { readonly value: VerifiedEnvelope; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: EnvelopeError };

type Parsed = { envelope: Envelope } | { error: EnvelopeError };

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Bundles, manifests and receipts are a few KiB; this leaves room for the policy of a large fleet. */
export const MAX_ENVELOPE_BYTES = 4 * 1024 * 1024;

/** Each costs a signature check. */
const MAX_SIGNATURES = 16;

interface SignOptions {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly keys: readonly Signer[];
}

/** Signs with every key given; the text is the envelope as JSON. */
export async function signEnvelope(options: SignOptions): Promise<string> {
  return JSON.stringify(await sealEnvelope(options));
}

/** Like signEnvelope, for callers that put the envelope into other JSON. */
export async function sealEnvelope({ payloadType, payload, keys }: SignOptions): Promise<Envelope> {
  const signed = preAuthenticationEncoding(payloadType, payload);
  return {
    payloadType,
    payload: toBase64(payload),
    signatures: await Promise.all(
      keys.map(async (key) => ({ keyid: key.keyid, sig: toBase64(await key.sign(signed)) })),
    ),
  };
}

/** PAE of the DSSE protocol: the bytes that are signed in place of the payload. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const typeBytes = Buffer.byteLength(payloadType, 'utf8');
  const head = `DSSEv1 ${typeBytes} ${payloadType} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(head, 'utf8'), payload]);
}

/** Accepts JSON text, its bytes, or an envelope inside other parsed JSON. */
export function verifyEnvelope(input: unknown, rules: EnvelopeRules): EnvelopeVerdict {
  const parsed = parseEnvelope(input);
  if ('error' in parsed) return parsed;
  const { envelope } = parsed;
  if (envelope.payloadType !== rules.payloadType) {
    return fail('payload_type', `payloadType is not ${rules.payloadType}`);
  }
  const payload = readBase64(envelope.payload);
  if (payload === undefined) return fail('malformed', 'payload is not base64');
  return judge(envelope, payload, rules);
}

function judge(envelope: Envelope, payload: Uint8Array, rules: EnvelopeRules): EnvelopeVerdict {
  const signed = preAuthenticationEncoding(envelope.payloadType, payload);
  const good = new Set<string>();
  let known = 0;
  for (const { keyid, sig } of envelope.signatures) {
    // DSSE makes the key id a hint: another tool may name keys in its own way, or not at all.
    const named = rules.keys.filter((key) => key.keyid === keyid);
    known += named.length;
    const signature = readBase64(sig);
    if (signature === undefined) continue;
    const candidates = named.length > 0 ? named : rules.keys;
    const signer = candidates.find((key) => key.verify(signed, signature));
    if (signer !== undefined) good.add(signer.keyid);
  }
  if (good.size > 0) return { value: { payload, keyids: [...good] } };
  if (known === 0) return fail('unknown_key', 'signed by 0 known keys');
  return fail('bad_signature', '0 good signatures of known keys');
}

function parseEnvelope(input: unknown): Parsed {
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) return shapeOf(input);
  if (input.length > MAX_ENVELOPE_BYTES) {
    return fail('too_large', `an envelope is at most ${MAX_ENVELOPE_BYTES} bytes`);
  }
  try {
    return shapeOf(JSON.parse(typeof input === 'string' ? input : utf8(input)));
  } catch {
    // The input comes from a peer and must not be quoted.
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

/** DSSE allows the alphabet of URLs as well. */
function readBase64(text: string): Uint8Array | undefined {
  const isForUrls = /[-_]/.test(text) && !/[+/]/.test(text);
  return strictBase64(isForUrls ? text.replaceAll('-', '+').replaceAll('_', '/') : text);
}

/** Refuses what Buffer forgives (spaces, missing padding, stray bits), so that a signed text has one form. */
export function strictBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !BASE64.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
