import { readFileSync } from 'node:fs';
import { peekReceipt, readLedger } from '@zerolatency/ledger';
import { argumentsDigest } from '@zerolatency/receipts';
import type { Asked } from './load.ts';
import type { Kill } from './world.ts';

/** A call has its outcome this long after its deadline, or after its host is back, at the latest. */
const GRACE_MS = 5_000;
/** A bridge that died this long before a call may still be the reason why its outcome is unknown. */
const AFTERMATH_MS = 15_000;

/** The ids of errors by which a call has not run. */
const NEVER_RAN = new Set([
  'device.offline',
  'relay.unreachable',
  'limit.exceeded',
  'tool.server_down',
  'tool.unknown',
  'server.draining',
]);

export interface Evidence {
  readonly asked: readonly Asked[];
  readonly kills: readonly Kill[];
  /** When a host was ready again. */
  readonly hostReadyMs: readonly number[];
  /** The file to which the tool appends. */
  readonly counted: string;
  readonly ledger: string;
}

export interface Verdict {
  readonly calls: number;
  readonly executed: number;
  readonly outcomes: ReadonlyMap<string, number>;
  /** How long after it was due the latest outcome came. */
  readonly latestMs: number;
  /** One line each. */
  readonly violations: readonly string[];
  readonly executedTwice: number;
  readonly withoutOutcome: number;
}

/** What the ledger knows of one call. */
interface Recorded {
  readonly callId: string;
  outcome: string;
  errorId: string;
  endedMs: number;
}

/** Holds what the client saw, what the ledger says and what the tool did against each other. */
export async function judge(evidence: Evidence): Promise<Verdict> {
  const runs = runsIn(evidence.counted);
  const ledger = await recordedIn(evidence.ledger, evidence.asked);
  const violations: string[] = [];
  const outcomes = new Map<string, number>();
  let [latestMs, calls, executedTwice, withoutOutcome] = [Number.NEGATIVE_INFINITY, 0, 0, 0];
  for (const call of evidence.asked) {
    const times = runs.get(call.key) ?? 0;
    const recorded = ledger.get(call.key);
    const end = endOf(call, recorded);
    const blame = (what: string) =>
      violations.push(`${call.key} ${call.callId}: ${what} (${JSON.stringify({ end, times })})`);
    if (times > 1) {
      executedTwice += 1;
      blame(`ran ${times} times`);
    }
    if (end === undefined) {
      if (times > 0) blame('ran without an intent in the ledger');
      continue;
    }
    calls += 1;
    count(outcomes, end.outcome);
    if (end.outcome === 'open') {
      withoutOutcome += 1;
      blame('has no outcome');
      continue;
    }
    const dueMs = dueOf(call, evidence);
    const lateMs = end.endedMs - dueMs;
    latestMs = Math.max(latestMs, lateMs);
    if (lateMs > GRACE_MS) {
      withoutOutcome += 1;
      blame(`had its outcome ${lateMs} ms after it was due`);
    }
    for (const lie of liesOf(end, times)) blame(lie);
    if (end.outcome === 'unknown' && !isExplained(call, end.endedMs, evidence)) {
      blame('is unknown, and no process that knew it died');
    }
    if (
      recorded !== undefined &&
      call.ending.name === 'ended' &&
      recorded.outcome !== end.outcome
    ) {
      blame(`is ${recorded.outcome} in the ledger`);
    }
  }
  const executed = runs.size;
  return { calls, executed, outcomes, latestMs, violations, executedTwice, withoutOutcome };
}

interface End {
  readonly outcome: string;
  readonly errorId: string;
  readonly isRetryable: boolean;
  readonly endedMs: number;
}

/** Undefined for what never became a call. */
function endOf({ ending, endedMs }: Asked, recorded: Recorded | undefined): End | undefined {
  if (ending.name === 'ended') {
    return { ...ending, outcome: ending.outcome.toLowerCase(), endedMs };
  }
  if (recorded !== undefined) return { ...recorded, isRetryable: false };
  return ending.name === 'open'
    ? { outcome: 'open', errorId: '', isRetryable: false, endedMs }
    : undefined;
}

/** What an outcome says that the file of the tool does not. */
function liesOf({ outcome, errorId, isRetryable }: End, times: number): string[] {
  const lies: string[] = [];
  if (outcome === 'done' && times === 0) lies.push('is done and never ran');
  const saysNotRun = outcome === 'denied' || isRetryable || NEVER_RAN.has(errorId);
  if (saysNotRun && times > 0) lies.push('ran, and is said not to have run');
  return lies;
}

/** Its deadline; a host that was killed meanwhile closes its calls when it is back. */
function dueOf(call: Asked, { kills, hostReadyMs }: Evidence): number {
  let dueMs = call.deadlineMs;
  if (call.ending.name !== 'ended') {
    const killed = kills.find(({ victim, atMs }) => victim === 'host' && atMs >= call.startedMs);
    const readyMs = hostReadyMs.find((atMs) => atMs >= (killed?.atMs ?? Number.POSITIVE_INFINITY));
    dueMs = Math.max(dueMs, readyMs ?? 0);
  }
  return dueMs;
}

function isExplained(call: Asked, endedMs: number, { kills }: Evidence): boolean {
  if (endedMs >= call.deadlineMs) return true;
  return kills.some(
    ({ victim, atMs }) =>
      victim !== 'relay' && atMs >= call.startedMs - AFTERMATH_MS && atMs <= endedMs,
  );
}

/** How often the tool acted for each key. */
function runsIn(file: string): Map<string, number> {
  const runs = new Map<string, number>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line.startsWith('acted ')) count(runs, line.slice('acted '.length));
  }
  return runs;
}

async function recordedIn(dir: string, asked: readonly Asked[]): Promise<Map<string, Recorded>> {
  const keyOf = new Map(asked.map(({ callId, key }) => [callId, key]));
  const unnamed = asked.filter(({ callId }) => callId === '');
  const recorded = new Map<string, Recorded>();
  for await (const { record } of readLedger(dir)) {
    const { kind, body } = record;
    if (kind === 'call.intent') {
      const { callId } = body;
      // The client of a call may have lost its host before it learned the id.
      const key = keyOf.get(callId) ?? unnamed.find((call) => isOf(call, body))?.key;
      if (key === undefined) continue;
      keyOf.set(callId, key);
      recorded.set(key, { callId, outcome: 'open', errorId: '', endedMs: 0 });
    } else if (kind === 'call.receipt') {
      const entry = recorded.get(keyOf.get(body.callId) ?? '');
      const receipt = peekReceipt(body.receipt);
      if (entry === undefined || receipt === undefined) continue;
      entry.outcome = receipt.outcome;
      entry.errorId = receipt.errorId ?? '';
      entry.endedMs = Date.parse(record.at);
    }
  }
  return recorded;
}

interface Committed {
  readonly argumentSalt: string;
  readonly argumentsDigest: string;
}

function isOf({ argumentsJson }: Asked, committed: Committed): boolean {
  const salt = Buffer.from(committed.argumentSalt, 'hex');
  return argumentsDigest(salt, Buffer.from(argumentsJson)) === committed.argumentsDigest;
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
