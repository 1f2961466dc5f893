import { compileSchema, type Validation } from '@zerolatency/contracts';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import type { Signer } from '@zerolatency/signing';
import {
  canonicalJson,
  type Digest,
  type Envelope,
  sealEnvelope,
  withoutUnset,
} from '@zerolatency/signing';
import schema from '../../../contracts/audit/receipt.schema.json' with { type: 'json' };

export const RECEIPT_TYPE = 'application/vnd.zerolatency.receipt.v1+json';

/** How a call ended. */
export type Outcome = 'done' | 'failed' | 'denied' | 'cancelled' | 'unknown';

/** What one end of a call says about it; contracts/audit/receipt.schema.json is the contract. */
export interface Receipt {
  readonly role: 'host' | 'device';
  /** What ran the call, or would have run it. */
  readonly executor: 'device' | 'host';
  /** 32 hexadecimal digits. */
  readonly callId: string;
  readonly tool: string;
  readonly toolVersion?: string;
  /** Salted: see argumentsDigest(). */
  readonly argumentsDigest: Digest;
  /** Of the result's bytes; set when the outcome is done. */
  readonly resultDigest?: Digest;
  readonly outcome: Outcome;
  /** Set unless the outcome is done. */
  readonly errorId?: ErrorId;
  readonly caps: ReceiptCaps;
  readonly elapsedUs: number;
  /** RFC 3339. */
  readonly startedAt: string;
  /** Absent only when no bundle was valid. */
  readonly policyId?: string;
  readonly policyDigest?: Digest;
  readonly deviceId?: string;
  readonly tenant: string;
  readonly user: string;
  readonly turnId?: string;
  /** In the host's only: the device's own. */
  readonly device?: Envelope;
}

export interface ReceiptCaps {
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  readonly callsPerTurn?: number;
}

const validator = compileSchema<Receipt>(schema, 'contract');

/** The envelope, for the ledger and for events; JSON.stringify makes its text. */
export async function signReceipt(receipt: Receipt, signer: Signer): Promise<Envelope> {
  const given = withoutUnset({ ...receipt, caps: withoutUnset(receipt.caps) });
  const { error } = validator.validate(given);
  if (error !== undefined) throw new ZlError('receipt.invalid', error.message);
  const payload = canonicalJson(given);
  return sealEnvelope({ payloadType: RECEIPT_TYPE, payload, keys: [signer] });
}

/** Of the bytes that a signature was found good for. */
export function parseReceipt(payload: Uint8Array): Validation<Receipt> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(payload);
    return validator.validate(JSON.parse(text));
  } catch {
    // Signed, and yet not JSON: the signer is at fault, and there is no field to name.
    return { error: { field: '', message: 'the payload is not JSON in UTF-8' } };
  }
}
