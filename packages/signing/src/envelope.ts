import { toBase64 } from './base64.ts';
import type { Signer } from './keys.ts';

/** The JSON form of a DSSE envelope (secure-systems-lab/dsse, v1). */
export interface Envelope {
  readonly payloadType: string;
  /** Base64. */
  readonly payload: string;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  readonly keyid: string;
  /** Base64. */
  readonly sig: string;
}

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

/** PAE of the DSSE protocol: what is signed in place of the payload. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const typeBytes = Buffer.byteLength(payloadType, 'utf8');
  const head = `DSSEv1 ${typeBytes} ${payloadType} ${payload.byteLength} `;
  return Buffer.concat([Buffer.from(head, 'utf8'), payload]);
}
