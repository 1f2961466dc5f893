import type { ErrorId } from '@zerolatency/errors';
import type { Receipt, ReceiptCaps } from '@zerolatency/receipts';
import type { Envelope } from '@zerolatency/signing';
import { canonicalText, type Digest } from '@zerolatency/signing';
import { prefixedLeafHash } from './merkle.ts';

/** Written before a call is sent; a call.receipt of the same call closes it. */
export interface CallIntent {
  /** 32 hexadecimal digits. */
  readonly callId: string;
  readonly executor: Receipt['executor'];
  readonly tool: string;
  readonly argumentsDigest: Digest;
  /** 32 hexadecimal digits; the digest is of these bytes and the canonical arguments. */
  readonly argumentSalt: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly sessionId?: string;
  readonly turnId?: string;
  readonly policyId?: string;
  readonly policyDigest?: Digest;
  readonly toolVersion?: string;
  readonly caps?: ReceiptCaps;
  /** Of the device's journal the call was meant for. */
  readonly journalId?: string;
  /** Of the request in the call protocol, under which the device knows the call. */
  readonly requestDigest?: Digest;
  readonly deadlineUnixMs?: number;
}

export interface TurnSummary {
  readonly turnId: string;
  readonly sessionId: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly outcome: 'done' | 'failed' | 'cancelled';
  readonly errorId?: ErrorId;
  readonly steps: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly callIds: readonly string[];
  readonly startedAt: string;
  readonly endedAt: string;
}

export interface PolicyDenial {
  readonly callId: string;
  readonly tool: string;
  readonly argumentsDigest?: Digest;
  readonly argumentSalt?: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string;
  readonly turnId?: string;
  /** Null when no rule allowed it. */
  readonly ruleId: string | null;
  readonly reason: string;
  readonly policyId?: string;
  readonly policyDigest?: Digest;
}

/** The bundle under which decisions are made from now on. */
export interface PolicyChange {
  readonly state: 'none' | 'active' | 'stale' | 'expired';
  readonly policyId?: string;
  readonly policyDigest?: Digest;
  readonly version?: number;
}

export interface HostChange {
  readonly version: string;
  readonly configDigest?: Digest;
  readonly reason?: string;
}

/** Opens every segment: what an opener needs to know of the segments before it. */
export interface SegmentStart {
  /** Hexadecimal roots of the perfect subtrees over all earlier records, largest first. */
  readonly frontier: readonly string[];
  readonly openIntents: readonly OpenIntent[];
}

export interface OpenIntent {
  readonly index: number;
  readonly at: string;
  readonly body: CallIntent;
}

export interface RecordBodies {
  readonly 'call.intent': CallIntent;
  readonly 'call.receipt': {
    readonly callId: string;
    readonly argumentSalt: string;
    readonly receipt: Envelope;
  };
  readonly turn: TurnSummary;
  readonly 'policy.denied': PolicyDenial;
  readonly 'policy.changed': PolicyChange;
  readonly 'host.started': HostChange;
  readonly 'host.stopped': HostChange;
  readonly 'ledger.segment': SegmentStart;
}

export type RecordKind = keyof RecordBodies;

type Of<Kind extends RecordKind> = {
  [K in Kind]: { readonly kind: K; readonly body: RecordBodies[K] };
}[Kind];

/** What callers append. */
export type LedgerEntry = Of<Exclude<RecordKind, 'ledger.segment'>>;

/** contracts/audit/record.schema.json, and for each kind contracts/audit/records/<kind>.schema.json. */
export type LedgerRecord = Of<RecordKind> & {
  readonly v: 1;
  readonly index: number;
  /** RFC 3339. */
  readonly at: string;
  /** Hexadecimal leaf hash of the record before it; zeros for the first. */
  readonly prev: string;
  /** So many records were on disk for good when this one was written. */
  readonly synced: number;
};

export interface EncodedRecord {
  /** The line with its line feed. */
  readonly line: Uint8Array;
  readonly leaf: Uint8Array;
}

export const FIRST_PREV = '0'.repeat(64);

/** One canonical JSON text a line: the names below stand in the order RFC 8785 wants. */
export function encodeRecord(record: LedgerRecord): EncodedRecord {
  const { at, body, index, kind, prev, synced, v } = record;
  const text =
    `{"at":"${at}","body":${canonicalText(body)},"index":${index},` +
    `"kind":"${kind}","prev":"${prev}","synced":${synced},"v":${v}}`;
  // One allocation serves the file (without the prefix) and the hash (without the line feed).
  const bytes = Buffer.from(`\0${text}\n`, 'utf8');
  return { line: bytes.subarray(1), leaf: prefixedLeafHash(bytes.subarray(0, -1)) };
}

/** Undefined when the line is no record. Says nothing about its place in the chain. */
export function parseRecord(line: Uint8Array): LedgerRecord | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
    return isRecord(value) ? value : undefined;
  } catch {
    // Damaged bytes are what readers look for; the caller names their place.
    return undefined;
  }
}

function isRecord(value: unknown): value is LedgerRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { v, index, at, kind, prev, synced, body } = value as Record<string, unknown>;
  const isChained = Number.isSafeInteger(index) && Number.isSafeInteger(synced);
  const isNamed = typeof at === 'string' && typeof kind === 'string' && typeof prev === 'string';
  return v === 1 && isChained && isNamed && typeof body === 'object' && body !== null;
}
