import { compileSchema, type Validation } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import {
  canonicalJson,
  type Envelope,
  type Signer,
  sealEnvelope,
  withoutUnset,
} from '@zerolatency/signing';
import schema from '../../../contracts/audit/receipt.schema.json' with { type: 'json' };
import type { Receipt } from '../../../contracts/gen/receipt.d.ts';

export type { Receipt };

export const RECEIPT_TYPE = 'application/vnd.zerolatency.receipt.v1+json';

/** How a call ended. */
export type Outcome = Receipt['outcome'];

const validator = compileSchema<Receipt>(schema, 'built-in');

/** The envelope for the ledger and for events; JSON.stringify writes its text. */
export async function signReceipt(receipt: Receipt, signer: Signer): Promise<Envelope> {
  const given = withoutUnset({ ...receipt, caps: withoutUnset(receipt.caps) });
  const { error } = validator.validate(given);
  if (error !== undefined) throw new ZlError('receipt.invalid', error.message);
  const payload = canonicalJson(given);
  return sealEnvelope({ payloadType: RECEIPT_TYPE, payload, keys: [signer] });
}

/** Takes the bytes that a verified signature covers. */
export function parseReceipt(payload: Uint8Array): Validation<Receipt> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(payload);
    return validator.validate(JSON.parse(text));
  } catch {
    // The signer signed something that is not JSON; there is no field to name.
    return { error: { field: '', message: 'the payload is not JSON in UTF-8' } };
  }
}
