import type { Receipt } from '@zerolatency/receipts';
import { canonicalText } from '@zerolatency/signing';
import type { KeptBundle } from './bundles.ts';
import { PolicyHistory } from './policy-history.ts';
import { type MissingKey, type ReceiptKeys, readReceipt } from './read-receipt.ts';
import type { LedgerRecord, RecordBodies } from './record.ts';

type Intent = RecordBodies['call.intent'];
type Denial = RecordBodies['policy.denied'];
type Turn = RecordBodies['turn'];

/** A call whose receipt has not come yet, or whose turn has no record yet. */
interface Call {
  readonly turnId: string | undefined;
  readonly tenant: string;
  readonly user: string;
  intent?: Intent;
  readonly denial?: Denial;
  isConcluded: boolean;
  isNamed: boolean;
}

/** Everything about it was seen: only its id must not come again. */
const COMPLETE = Symbol('complete');

const SHARED_WITH_DENIAL = [
  'tool',
  'argumentsDigest',
  'tenant',
  'user',
  'deviceId',
  'turnId',
  'policyId',
  'policyDigest',
] as const;

const SHARED_WITH_INTENT = [...SHARED_WITH_DENIAL, 'executor', 'toolVersion'] as const;

/** What a verifier found that it cannot check. */
export interface Unchecked {
  readonly missingKeys: readonly MissingKey[];
  /** Receipts of later versions: which end signed, and the version. */
  readonly newer: readonly string[];
  /** Digests of bundles that are not beside the ledger. */
  readonly bundles: readonly string[];
}

/**
 * Whether the records of calls, turns and policies agree with each other. Keeps about a hundred
 * bytes for each call of the ledger.
 */
export class CallHistory {
  readonly #keys: ReceiptKeys;
  readonly #policies = new PolicyHistory();
  readonly #calls = new Map<string, Call | typeof COMPLETE>();
  /** Ids of calls whose turn has no record yet, by turn. */
  readonly #turns = new Map<string, string[]>();
  readonly #endedTurns = new Set<string>();
  readonly #missing = new Map<string, MissingKey>();
  readonly #newer = new Set<string>();

  constructor(keys: ReceiptKeys) {
    this.#keys = keys;
  }

  get unchecked(): Unchecked {
    return {
      missingKeys: [...this.#missing.values()],
      newer: [...this.#newer],
      bundles: [...this.#policies.notKept],
    };
  }

  get decisions(): number {
    return this.#policies.decisions;
  }

  /** Why the record does not follow from those before it; a change of policy comes with its bundle. */
  faultIn(record: LedgerRecord, bundle?: KeptBundle): string | undefined {
    const atMs = Date.parse(record.at);
    switch (record.kind) {
      case 'call.intent':
        return this.#intent(record.body, atMs);
      case 'policy.denied':
        return this.#denied(record.body, atMs);
      case 'policy.withheld':
        return this.#withheld(record.body, atMs);
      case 'call.receipt':
        return this.#receipt(record.body, atMs);
      case 'turn':
        return this.#turn(record.body, record.v);
      case 'policy.changed':
        return this.#policies.changed(record.body, record, bundle);
      case 'host.started':
        this.#policies.hostStarted();
        return undefined;
      default:
        return undefined;
    }
  }

  #intent(intent: Intent, atMs: number): string | undefined {
    const { callId, turnId, tenant, user, caps = {} } = intent;
    const known = this.#calls.get(callId);
    if (known === undefined) this.#begin(callId, { turnId, tenant, user, intent });
    else if (isIntendedAgain(known, intent)) known.intent = intent;
    else return `is not the first record of call ${callId}`;
    return this.#policies.faultInAllowed({ ...intent, caps }, atMs);
  }

  #denied(denial: Denial, atMs: number): string | undefined {
    const { callId, turnId, tenant, user } = denial;
    if (this.#calls.has(callId)) return `is not the first record of call ${callId}`;
    this.#begin(callId, { turnId, tenant, user, denial });
    return this.#policies.faultInDenial(denial, atMs);
  }

  #withheld(body: RecordBodies['policy.withheld'], atMs: number): string | undefined {
    const { turnId, count, tools } = body;
    if (this.#endedTurns.has(turnId)) return `is of turn ${turnId}, which has ended`;
    if (tools.length > count) return `counts ${count} tools and names ${tools.length}`;
    return this.#policies.faultInWithheld(body, atMs);
  }

  #receipt(body: RecordBodies['call.receipt'], atMs: number): string | undefined {
    const { receipt, fault, missing, newer } = readReceipt(body.receipt, this.#keys);
    for (const key of missing) this.#missing.set(`${key.role} ${key.keyid}`, key);
    if (newer !== undefined) this.#newer.add(newer);
    if (fault !== undefined) return fault;
    const known = this.#calls.get(body.callId);
    if (known === COMPLETE || known?.isConcluded) return `is a second receipt of ${body.callId}`;
    if (receipt !== undefined && receipt.callId !== body.callId) {
      return 'holds the receipt of another call';
    }
    const call = known ?? this.#begin(body.callId, { ...WITHOUT_TURN, ...receipt });
    const difference =
      receipt &&
      (faultBeside(call, body.argumentSalt, receipt) ?? this.#unintended(call, receipt, atMs));
    if (difference !== undefined) return difference;
    const { turnId } = call;
    if (turnId !== undefined && this.#endedTurns.has(turnId) && !call.isNamed) {
      return `is of turn ${turnId}, whose record does not name the call`;
    }
    call.isConcluded = true;
    if (turnId === undefined || call.isNamed) this.#calls.set(body.callId, COMPLETE);
    return undefined;
  }

  #unintended({ intent, denial }: Call, receipt: Receipt, atMs: number): string | undefined {
    if (intent !== undefined || denial !== undefined) return undefined;
    const { timeoutMs = Number.POSITIVE_INFINITY } = receipt.caps;
    return this.#policies.faultInName(
      receipt,
      atMs - Math.max(timeoutMs, receipt.elapsedUs / 1000),
    );
  }

  #turn({ turnId, tenant, user, callIds }: Turn, version: number): string | undefined {
    if (this.#endedTurns.has(turnId)) return `is a second record of turn ${turnId}`;
    this.#endedTurns.add(turnId);
    for (const callId of callIds) {
      const call = this.#calls.get(callId);
      // A host of release 0.1.0 names calls too that it could not record on a full disk.
      if (call === undefined && version === 1) continue;
      if (call === undefined) return `names call ${callId}, of which there is no record`;
      if (call === COMPLETE || call.isNamed) return `names call ${callId}, which is named before`;
      if (call.turnId !== turnId || call.tenant !== tenant || call.user !== user) {
        return `names call ${callId} of another turn or user`;
      }
      call.isNamed = true;
      if (call.isConcluded) this.#calls.set(callId, COMPLETE);
    }
    const named = new Set(callIds);
    const left = this.#turns.get(turnId) ?? [];
    this.#turns.delete(turnId);
    const unnamed = left.find(
      (callId) => !named.has(callId) && isConcluded(this.#calls.get(callId)),
    );
    return unnamed && `does not name its call ${unnamed}`;
  }

  #begin(callId: string, given: Omit<Call, 'isConcluded' | 'isNamed'>): Call {
    const { turnId, tenant, user, intent, denial } = given;
    const facts = { turnId, tenant, user, ...(intent && { intent }), ...(denial && { denial }) };
    const call = { ...facts, isConcluded: false, isNamed: false };
    this.#calls.set(callId, call);
    if (turnId === undefined || this.#endedTurns.has(turnId)) return call;
    const ofTurn = this.#turns.get(turnId);
    if (ofTurn === undefined) this.#turns.set(turnId, [callId]);
    else ofTurn.push(callId);
    return call;
  }
}

/** A device that comes back with another journal before the call is sent needs another intent. */
function isIntendedAgain(call: Call | typeof COMPLETE, intent: Intent): call is Call {
  if (call === COMPLETE || call.isConcluded || call.isNamed) return false;
  const { journalId } = call.intent ?? {};
  if (call.intent === undefined || journalId === undefined) return false;
  if (intent.journalId === undefined || intent.journalId === journalId) return false;
  return canonicalText(withoutTarget(intent)) === canonicalText(withoutTarget(call.intent));
}

function withoutTarget(intent: Intent) {
  const { journalId: _, requestDigest: __, deadlineUnixMs: ___, ...call } = intent;
  return call;
}

/** For a receipt that this program cannot read. */
const WITHOUT_TURN = { turnId: undefined, tenant: '', user: '' };

function isConcluded(call: Call | typeof COMPLETE | undefined): boolean {
  return call === COMPLETE || call?.isConcluded === true;
}

/** How a receipt contradicts what was recorded before the call was sent, or denied. */
function faultBeside({ intent, denial }: Call, salt: string, receipt: Receipt): string | undefined {
  if (denial !== undefined) {
    if (receipt.outcome !== 'denied') return `says ${receipt.outcome} of a call that was denied`;
    return difference(receipt, { of: denial, in: SHARED_WITH_DENIAL, salt }, 'denial');
  }
  if (intent === undefined) return faultWithoutIntent(receipt);
  const other = difference(receipt, { of: intent, in: SHARED_WITH_INTENT, salt }, 'intent');
  if (other !== undefined) return other;
  const sameCaps = canonicalText(receipt.caps) === canonicalText(intent.caps ?? {});
  return sameCaps ? undefined : 'differs from its intent in caps';
}

function difference<Field extends keyof Receipt>(
  receipt: Receipt,
  before: {
    readonly of: { readonly [F in Field]?: unknown } & { readonly argumentSalt?: string };
    readonly in: readonly Field[];
    readonly salt: string;
  },
  name: 'intent' | 'denial',
): string | undefined {
  const field = before.in.find((one) => before.of[one] !== receipt[one]);
  if (field !== undefined) return `differs from its ${name} in ${field}`;
  return before.of.argumentSalt === before.salt
    ? undefined
    : `differs from its ${name} in argumentSalt`;
}

/** A call may end before its intent is due: it is refused, invalid or cancelled. */
function faultWithoutIntent(receipt: Receipt): string | undefined {
  const { outcome, device, executor } = receipt;
  if (outcome === 'denied') return 'says denied, and nothing denied the call';
  const wasSent =
    outcome === 'done' || device !== undefined || (outcome === 'unknown' && executor === 'device');
  return wasSent ? `says ${outcome} of a call that has no intent` : undefined;
}
