import { ZlError } from '@zerolatency/errors';
import type { Verifier } from '@zerolatency/signing';
import { verifyEnvelope } from '@zerolatency/signing';
import { parseReceipt, RECEIPT_TYPE, type Receipt, type ReceiptOutcome } from './receipt.ts';

export type ReceiptVerdict =
  | { readonly value: VerifiedReceipt; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: ZlError };

export interface VerifiedReceipt {
  readonly receipt: Receipt;
  /** What the device says of the same call. */
  readonly device?: Receipt;
}

type One = { value: Receipt; error?: undefined } | { value?: undefined; error: ZlError };

/** What a host may conclude from what a device says. A result can arrive too late or be refused. */
const AGREEING: Readonly<Record<ReceiptOutcome, readonly ReceiptOutcome[]>> = {
  done: ['done'],
  failed: ['failed', 'done', 'cancelled'],
  denied: ['denied'],
  cancelled: ['cancelled', 'done', 'failed'],
  unknown: ['unknown'],
};

const SHARED = ['callId', 'tool', 'argumentsDigest', 'tenant', 'user', 'deviceId'] as const;

/** A host's receipt with the device's inside: both signatures, and that they tell one story. */
export function verifyReceipt(options: {
  /** JSON text, its bytes, or the envelope as parsed. */
  readonly envelope: unknown;
  readonly hostKeys: readonly Verifier[];
  readonly deviceKeys: readonly Verifier[];
}): ReceiptVerdict {
  const host = verifyOne('host', options.envelope, options.hostKeys);
  if (host.error !== undefined) return host;
  const receipt = host.value;
  if (receipt.device === undefined) {
    const isMissing = receipt.outcome === 'done' && receipt.deviceId !== undefined;
    return isMissing
      ? fail("done on a device, without the device's receipt")
      : { value: { receipt } };
  }
  const device = verifyOne('device', receipt.device, options.deviceKeys);
  if (device.error !== undefined) return device;
  const difference = receiptsDiffer(receipt, device.value);
  if (difference !== undefined) return fail(difference);
  return { value: { receipt, device: device.value } };
}

/** What a host checks before it believes an outcome and puts it into its own receipt. */
export function verifyDeviceReceipt(options: {
  readonly envelope: unknown;
  readonly deviceKeys: readonly Verifier[];
}): One {
  return verifyOne('device', options.envelope, options.deviceKeys);
}

/** In words, how two receipts contradict each other; undefined when they agree. */
export function receiptsDiffer(host: Receipt, device: Receipt): string | undefined {
  const field = SHARED.find((name) => host[name] !== device[name]);
  if (field !== undefined) return `host and device differ in ${field}`;
  if (!AGREEING[host.outcome].includes(device.outcome)) {
    return `the host says ${host.outcome}, the device ${device.outcome}`;
  }
  const sameResult = host.outcome !== 'done' || host.resultDigest === device.resultDigest;
  return sameResult ? undefined : 'host and device differ in resultDigest';
}

function verifyOne(role: 'host' | 'device', envelope: unknown, keys: readonly Verifier[]): One {
  const verdict = verifyEnvelope(envelope, { payloadType: RECEIPT_TYPE, keys });
  if (verdict.error !== undefined) return fail(`${role}: ${verdict.error.message}`);
  const parsed = parseReceipt(verdict.value.payload);
  if (parsed.error !== undefined) return fail(`${role}: ${parsed.error.message}`);
  if (parsed.value.role !== role) return fail(`the ${role} receipt says it is the other end's`);
  return { value: parsed.value };
}

function fail(message: string): { error: ZlError } {
  return { error: new ZlError('receipt.invalid', message) };
}
