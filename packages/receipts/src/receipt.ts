import { compileSchema, type Validation } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import {
  canonicalJson,
  type Envelope,
  type Signer,
  sealEnvelope,
  type Verifier,
  verifyEnvelope,
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
    // The signer signed something that is not JSON, so no field can be named.
    return { error: { field: '', message: 'the payload is not JSON in UTF-8' } };
  }
}

export type ReceiptVerdict =
  | { readonly value: VerifiedReceipt; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: ZlError };

export interface VerifiedReceipt {
  readonly receipt: Receipt;
  /** The device's own receipt of the same call. */
  readonly device?: Receipt;
}

type One = { value: Receipt; error?: undefined } | { value?: undefined; error: ZlError };

const RECEIPT_VERSION = 1;
const TYPE_VERSION =
  /"payloadType"\s*:\s*"application\/vnd\.zerolatency\.receipt\.v(\d{1,9})\+json"/;

/** What a host may conclude from a device's outcome: a result can arrive too late or be refused. */
const AGREEING: Readonly<Record<Outcome, readonly Outcome[]>> = {
  done: ['done'],
  failed: ['failed', 'done', 'cancelled'],
  denied: ['denied'],
  cancelled: ['cancelled', 'done', 'failed'],
  unknown: ['unknown'],
};

const SHARED = [
  'executor',
  'callId',
  'tool',
  'argumentsDigest',
  'tenant',
  'user',
  'deviceId',
] as const;

/** Checks both signatures of a host's receipt, and that host and device agree. */
export function verifyReceipt(options: {
  /** JSON text, its bytes, or the envelope as parsed. */
  readonly envelope: unknown;
  readonly hostKeys: readonly Verifier[];
  readonly deviceKeys: readonly Verifier[];
}): ReceiptVerdict {
  const host = verifyOne('host', options.envelope, options.hostKeys);
  if (host.error !== undefined) return host;
  const receipt = host.value;
  const device = receipt.device && verifyOne('device', receipt.device, options.deviceKeys);
  if (device?.error !== undefined) return device;
  const fault = faultBetween(receipt, device?.value);
  if (fault !== undefined) return fail(fault);
  return { value: { receipt, ...(device && { device: device.value }) } };
}

/** What a host's receipt lacks beside the device's own; undefined when they prove one outcome. */
export function faultBetween(host: Receipt, device: Receipt | undefined): string | undefined {
  if (device !== undefined) return receiptsDiffer(host, device);
  const isMissing = host.outcome === 'done' && host.executor === 'device';
  return isMissing ? "done on a device without the device's receipt" : undefined;
}

/** Checks a device's receipt before a host puts it into its own. */
export function verifyDeviceReceipt(options: {
  readonly envelope: unknown;
  readonly deviceKeys: readonly Verifier[];
}): One {
  return verifyOne('device', options.envelope, options.deviceKeys);
}

/** How two receipts contradict each other; undefined when they agree. */
export function receiptsDiffer(host: Receipt, device: Receipt): string | undefined {
  const field = SHARED.find((name) => host[name] !== device[name]);
  if (field !== undefined) return `host and device differ in ${field}`;
  if (!AGREEING[host.outcome].includes(device.outcome)) {
    return `the host says ${host.outcome}, the device says ${device.outcome}`;
  }
  const sameResult = host.outcome !== 'done' || host.resultDigest === device.resultDigest;
  return sameResult ? undefined : 'host and device differ in resultDigest';
}

function verifyOne(role: 'host' | 'device', envelope: unknown, keys: readonly Verifier[]): One {
  const verdict = verifyEnvelope(envelope, { payloadType: RECEIPT_TYPE, keys });
  if (verdict.error !== undefined) {
    return fail(`${role}: ${newerReceiptVersion(envelope) ?? verdict.error.message}`);
  }
  const parsed = parseReceipt(verdict.value.payload);
  if (parsed.error !== undefined) return fail(`${role}: ${parsed.error.message}`);
  if (parsed.value.role !== role)
    return fail(`the ${role}'s receipt has the role ${parsed.value.role}`);
  return { value: parsed.value };
}

/** A receipt of a later release is not a damaged one, and its reader should hear so. */
export function newerReceiptVersion(envelope: unknown): string | undefined {
  const text = typeof envelope === 'string' ? envelope : textOf(envelope);
  const version = Number(TYPE_VERSION.exec(text)?.[1]);
  if (!(version > RECEIPT_VERSION)) return undefined;
  return `version ${version} of the receipt is newer than this program, which reads version ${RECEIPT_VERSION}`;
}

function textOf(envelope: unknown): string {
  if (envelope instanceof Uint8Array) return Buffer.from(envelope).toString('utf8');
  return JSON.stringify(envelope) ?? '';
}

function fail(message: string): { error: ZlError } {
  return { error: new ZlError('receipt.invalid', message) };
}
