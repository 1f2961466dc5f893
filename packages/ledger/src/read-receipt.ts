import {
  faultBetween,
  newerReceiptVersion,
  parseReceipt,
  RECEIPT_TYPE,
  type Receipt,
} from '@zerolatency/receipts';
import {
  canonicalJson,
  type Envelope,
  strictBase64,
  type Verifier,
  verifyEnvelope,
} from '@zerolatency/signing';

export interface ReceiptKeys {
  readonly hostKeys: readonly Verifier[];
  readonly deviceKeys: readonly Verifier[];
}

/** A signature that cannot be checked, because nobody gave its public key. */
export interface MissingKey {
  readonly role: 'host' | 'device';
  readonly keyid: string;
  readonly deviceId?: string | undefined;
}

export interface ReadReceipt {
  /** Absent beside a fault, and for a version that this program does not read. */
  readonly receipt?: Receipt;
  /** What shows that it is not what its signers wrote. */
  readonly fault?: string;
  readonly missing: readonly MissingKey[];
  readonly newer?: string;
}

/** Whatever does not need a missing key is still checked. */
export function readReceipt(envelope: Envelope, keys: ReceiptKeys): ReadReceipt {
  const host = readOne('host', envelope, keys.hostKeys);
  if (host.receipt?.device === undefined) return withAgreement(host, undefined);
  const device = readOne('device', host.receipt.device, keys.deviceKeys);
  const missing = [...host.missing, ...device.missing];
  if (device.receipt === undefined) return { ...device, missing };
  return withAgreement({ ...host, missing }, device.receipt);
}

function withAgreement(host: ReadReceipt, device: Receipt | undefined): ReadReceipt {
  const fault = host.receipt && faultBetween(host.receipt, device);
  return fault === undefined ? host : { fault, missing: host.missing };
}

function readOne(
  role: MissingKey['role'],
  envelope: Envelope,
  keys: readonly Verifier[],
): ReadReceipt {
  const newer = newerReceiptVersion(envelope);
  if (newer !== undefined) return { newer: `${role}: ${newer}`, missing: [] };
  const { error } = verifyEnvelope(envelope, { payloadType: RECEIPT_TYPE, keys });
  const isUnknown = error?.fault === 'unknown_key' && envelope.signatures.length > 0;
  if (error !== undefined && !isUnknown) return faulty(role, error.message);
  const payload = strictBase64(envelope.payload) ?? Buffer.alloc(0);
  const { value: receipt, error: broken } = parseReceipt(payload);
  if (receipt === undefined) return faulty(role, broken.message);
  if (!Buffer.from(payload).equals(canonicalJson(receipt))) {
    return faulty(role, 'the payload is not canonical JSON (RFC 8785)');
  }
  if (receipt.role !== role) return faulty(role, `the receipt has the role ${receipt.role}`);
  const { deviceId } = receipt;
  const missing = envelope.signatures.map(({ keyid }) => ({ role, keyid, deviceId }));
  return { receipt, missing: isUnknown ? missing : [] };
}

function faulty(role: MissingKey['role'], message: string): ReadReceipt {
  return { fault: `${role}: ${message}`, missing: [] };
}
