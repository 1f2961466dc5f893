import { compileSchema, type Validator } from '@zerolatency/contracts';
import { canonicalText } from '@zerolatency/signing';
import recordSchema from '../../../contracts/audit/record.schema.json' with { type: 'json' };
import callIntent from '../../../contracts/audit/records/call.intent.schema.json' with {
  type: 'json',
};
import callReceipt from '../../../contracts/audit/records/call.receipt.schema.json' with {
  type: 'json',
};
import hostStarted from '../../../contracts/audit/records/host.started.schema.json' with {
  type: 'json',
};
import hostStopped from '../../../contracts/audit/records/host.stopped.schema.json' with {
  type: 'json',
};
import ledgerAdopted from '../../../contracts/audit/records/ledger.adopted.schema.json' with {
  type: 'json',
};
import ledgerEnded from '../../../contracts/audit/records/ledger.ended.schema.json' with {
  type: 'json',
};
import ledgerOpened from '../../../contracts/audit/records/ledger.opened.schema.json' with {
  type: 'json',
};
import ledgerSegment from '../../../contracts/audit/records/ledger.segment.schema.json' with {
  type: 'json',
};
import policyChanged from '../../../contracts/audit/records/policy.changed.schema.json' with {
  type: 'json',
};
import policyDenied from '../../../contracts/audit/records/policy.denied.schema.json' with {
  type: 'json',
};
import policyWithheld from '../../../contracts/audit/records/policy.withheld.schema.json' with {
  type: 'json',
};
import turn from '../../../contracts/audit/records/turn.schema.json' with { type: 'json' };
import type { CallIntentBody } from '../../../contracts/gen/call.intent.d.ts';
import type { CallReceiptBody } from '../../../contracts/gen/call.receipt.d.ts';
import type { HostStartedBody } from '../../../contracts/gen/host.started.d.ts';
import type { HostStoppedBody } from '../../../contracts/gen/host.stopped.d.ts';
import type { LedgerAdoptedBody } from '../../../contracts/gen/ledger.adopted.d.ts';
import type { LedgerEndedBody } from '../../../contracts/gen/ledger.ended.d.ts';
import type { LedgerOpenedBody } from '../../../contracts/gen/ledger.opened.d.ts';
import type { LedgerSegmentBody } from '../../../contracts/gen/ledger.segment.d.ts';
import type { PolicyChangedBody } from '../../../contracts/gen/policy.changed.d.ts';
import type { PolicyDeniedBody } from '../../../contracts/gen/policy.denied.d.ts';
import type { PolicyWithheldBody } from '../../../contracts/gen/policy.withheld.d.ts';
import type { LedgerRecord as AnyRecord } from '../../../contracts/gen/record.d.ts';
import type { TurnBody } from '../../../contracts/gen/turn.d.ts';
import { leafHash, prefixedLeafHash } from './tree.ts';

/** An intent without a receipt, as the first record of a segment repeats it. */
export interface OpenIntent {
  readonly index: number;
  readonly at: string;
  readonly body: CallIntentBody;
}

export interface RecordBodies {
  readonly 'call.intent': CallIntentBody;
  readonly 'call.receipt': CallReceiptBody;
  readonly turn: TurnBody;
  readonly 'policy.denied': PolicyDeniedBody;
  readonly 'policy.withheld': PolicyWithheldBody;
  readonly 'policy.changed': PolicyChangedBody;
  readonly 'host.started': HostStartedBody;
  readonly 'host.stopped': HostStoppedBody;
  readonly 'ledger.adopted': LedgerAdoptedBody;
  readonly 'ledger.ended': LedgerEndedBody;
  readonly 'ledger.opened': LedgerOpenedBody;
  readonly 'ledger.segment': Omit<LedgerSegmentBody, 'openIntents'> & {
    readonly openIntents: readonly OpenIntent[];
  };
}

export type RecordKind = AnyRecord['kind'];

export type RecordContent<Kind extends RecordKind = RecordKind> = {
  [K in Kind]: { readonly kind: K; readonly body: RecordBodies[K] };
}[Kind];

/** What callers append; the ledger itself writes what concerns its files. */
export type LedgerEntry = RecordContent<Exclude<RecordKind, `ledger.${string}`>>;

export type LedgerRecord = Omit<AnyRecord, 'kind' | 'body'> & RecordContent;

export interface RecordFault {
  /** Only unreadable bytes can come from a write that a crash cut short. */
  readonly kind: 'unreadable' | 'version' | 'invalid';
  readonly reason: string;
}

export type ParsedRecord =
  | { readonly value: LedgerRecord; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: RecordFault };

export interface EncodedRecord {
  /** The line with its line feed. */
  readonly line: Buffer;
  readonly leaf: Uint8Array;
}

export const RECORD_VERSION = 2;

const recordValidator: Validator = compileSchema(recordSchema, 'built-in');

const bodyValidators: Readonly<Record<RecordKind, Validator>> = {
  'call.intent': compileSchema(callIntent, 'built-in'),
  'call.receipt': compileSchema(callReceipt, 'built-in'),
  turn: compileSchema(turn, 'built-in'),
  'policy.denied': compileSchema(policyDenied, 'built-in'),
  'policy.withheld': compileSchema(policyWithheld, 'built-in'),
  'policy.changed': compileSchema(policyChanged, 'built-in'),
  'host.started': compileSchema(hostStarted, 'built-in'),
  'host.stopped': compileSchema(hostStopped, 'built-in'),
  'ledger.adopted': compileSchema(ledgerAdopted, 'built-in'),
  'ledger.ended': compileSchema(ledgerEnded, 'built-in'),
  'ledger.opened': compileSchema(ledgerOpened, 'built-in'),
  'ledger.segment': compileSchema(ledgerSegment, 'built-in'),
};

/** One canonical JSON text per line: the names below are in the order of RFC 8785. */
export function encodeRecord(record: LedgerRecord): EncodedRecord {
  const { at, body, index, kind, prev, synced, v } = record;
  const text =
    `{"at":"${at}","body":${canonicalText(body)},"index":${index},` +
    `"kind":"${kind}","prev":"${prev}","synced":${synced},"v":${v}}`;
  // One allocation serves the file (without the prefix) and the hash (without the line feed).
  const bytes = Buffer.from(`\0${text}\n`, 'utf8');
  return { line: bytes.subarray(1), leaf: prefixedLeafHash(bytes.subarray(0, -1)) };
}

/** In hexadecimal it is the record's audit id. */
export function recordLeafHash(line: string): Uint8Array {
  return leafHash(Buffer.from(line, 'utf8'));
}

/** What is wrong with a body by the contract of its kind; undefined when it follows it. */
export function faultInBody({ kind, body }: RecordContent): string | undefined {
  const fault = bodyValidators[kind].validate(body).error?.message;
  if (fault !== undefined || kind !== 'ledger.segment') return fault;
  for (const intent of body.openIntents) {
    const { error } = bodyValidators['call.intent'].validate(intent.body);
    if (error !== undefined) return error.message;
  }
  return undefined;
}

/** Says nothing about the record's place in the chain. */
export function parseRecord(line: Uint8Array): ParsedRecord {
  const value = parseJson(line);
  const version = versionOf(value);
  if (version === undefined) return fault('unreadable', 'cannot be read');
  if (version > RECORD_VERSION) {
    return fault('version', `has version ${version}, which is newer than this program`);
  }
  const { error } = recordValidator.validate(value);
  if (error !== undefined) return fault('invalid', `breaks its contract: ${error.message}`);
  // The schema of all records holds; the schema of the body follows.
  const record = value as LedgerRecord;
  const reason = faultInBody(record);
  return reason === undefined
    ? { value: record }
    : fault('invalid', `breaks its contract: ${reason}`);
}

function parseJson(line: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
  } catch {
    // Damaged bytes are what readers look for; the caller names their place.
    return undefined;
  }
}

function versionOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null || !('v' in value)) return undefined;
  return typeof value.v === 'number' ? value.v : undefined;
}

function fault(kind: RecordFault['kind'], reason: string): { error: RecordFault } {
  return { error: { kind, reason } };
}
