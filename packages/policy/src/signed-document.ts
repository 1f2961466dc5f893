import {
  canonicalJson,
  type Digest,
  digestOfBytes,
  type Verifier,
  verifierFromPem,
  verifyEnvelope,
} from '@zerolatency/signing';

export interface SignedDocument {
  readonly value: unknown;
  /** Of the canonical payload, so that it is also digestOf(value). */
  readonly digest: Digest;
  readonly keyids: readonly string[];
}

interface DocumentFault {
  readonly fault: string;
  /** It is an envelope, and no known key has signed it. */
  readonly isUnsigned: boolean;
}

interface Rules {
  readonly payloadType: string;
  /** SPKI PEM texts; one good signature is enough. */
  readonly keys: readonly string[];
}

/** The content of a DSSE envelope, or why it cannot be believed. */
export function openDocument(
  envelopeText: string,
  { payloadType, keys }: Rules,
): { document: SignedDocument } | DocumentFault {
  const verdict = verifyEnvelope(envelopeText, { payloadType, keys: keys.map(verifierOf) });
  if (verdict.error !== undefined) {
    const { fault, message } = verdict.error;
    return { fault: message, isUnsigned: fault === 'unknown_key' || fault === 'bad_signature' };
  }
  const { payload, keyids } = verdict.value;
  const value = parseCanonical(payload);
  if (value === undefined) {
    return { fault: 'the payload is not canonical JSON (RFC 8785)', isUnsigned: false };
  }
  return { document: { value: deepFreeze(value), digest: digestOfBytes(payload), keyids } };
}

const verifiers = new Map<string, Verifier>();
const MAX_VERIFIERS = 64;

/** Kept by PEM text: every look at a file asks with the same few keys. */
function verifierOf(pem: string): Verifier {
  const known = verifiers.get(pem);
  if (known !== undefined) return known;
  const verifier = verifierFromPem(pem);
  if (verifiers.size >= MAX_VERIFIERS) verifiers.clear();
  verifiers.set(pem, verifier);
  return verifier;
}

/** One spelling only: a key given twice, which readers take differently, has none. */
function parseCanonical(payload: Uint8Array): unknown {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    return Buffer.from(payload).equals(canonicalJson(value)) ? value : undefined;
  } catch {
    // It was signed and still cannot be read: there is no more to say than that.
    return undefined;
  }
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
