import { ZlError } from '@zerolatency/errors';
import { verifyReceipt } from '@zerolatency/receipts';
import { type Verifier, verifierFromPem } from '@zerolatency/signing';
import { readKeys } from '../input.ts';

export interface ReceiptKeys {
  /** A public PEM file, or a folder of them. */
  readonly host: string;
  readonly device: string;
}

/** The receipt, after both of its signatures were verified. */
export async function readVerifiedReceipt(receiptJson: string, keys: ReceiptKeys) {
  const [hostKeys, deviceKeys] = await Promise.all([
    readVerifiers(keys.host),
    readVerifiers(keys.device),
  ]);
  const verdict = verifyReceipt({ envelope: receiptJson, hostKeys, deviceKeys });
  if (verdict.error !== undefined) throw verdict.error;
  const { receipt, device } = verdict.value;
  if (device === undefined) {
    throw new ZlError('receipt.invalid', "the device's own receipt is missing");
  }
  return receipt;
}

export async function readVerifiers(path: string): Promise<Verifier[]> {
  return (await readKeys(path)).map((pem) => verifierFromPem(pem));
}
