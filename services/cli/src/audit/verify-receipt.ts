import { verifyReceipt } from '@zerolatency/receipts';
import { type Verifier, verifierFromPem } from '@zerolatency/signing';
import { readKeys } from '../input.ts';

export interface ReceiptKeys {
  /** A public PEM file, or a folder of them. */
  readonly host: string;
  readonly device: string;
}

/** The receipt, and the device's own where a device executed the call; all signatures verified. */
export async function readVerifiedReceipt(receiptJson: string, keys: ReceiptKeys) {
  const [hostKeys, deviceKeys] = await Promise.all([
    readVerifiers(keys.host),
    readVerifiers(keys.device),
  ]);
  const verdict = verifyReceipt({ envelope: receiptJson, hostKeys, deviceKeys });
  if (verdict.error !== undefined) throw verdict.error;
  return verdict.value;
}

export async function readVerifiers(path: string): Promise<Verifier[]> {
  return (await readKeys(path)).map((pem) => verifierFromPem(pem));
}
