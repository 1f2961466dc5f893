import { CATALOGUE, isErrorId, ZlError } from '@zerolatency/errors';
import { type LedgerRecord, peekReceipt, type RecordBodies } from '@zerolatency/ledger';
import type { LogLine } from '../commands/logs.ts';
import { type Evidence, idsOf, isNamed } from './evidence.ts';

/** What happened in a turn, or to a request that became none. */
export interface Story {
  /** Undefined for a request that the host refused. */
  readonly turn: TurnStory | undefined;
  readonly refusal: ErrorStory | undefined;
  readonly calls: readonly CallStory[];
  /** Its trace, and whatever else failed or connected while it ran. */
  readonly lines: readonly LogLine[];
}

export interface TurnStory {
  readonly turnId: string;
  /** Undefined while it runs, or when its host stopped before its end. */
  readonly outcome: string | undefined;
  readonly isRecorded: boolean;
  readonly at: string;
  readonly error: ErrorStory | undefined;
  readonly steps: number | undefined;
  readonly seconds: number | undefined;
  readonly who: string;
  readonly parentCallId: string | undefined;
  readonly withheld: RecordBodies['policy.withheld'] | undefined;
}

export interface ErrorStory {
  readonly id: string;
  readonly message: string;
  readonly help: string;
}

export interface CallStory {
  readonly callId: string;
  readonly tool: string;
  readonly outcome: string | undefined;
  readonly decision: string;
  readonly where: string;
  readonly error: ErrorStory | undefined;
  readonly times: Times | undefined;
  /** The record's envelope; undefined when the ledger holds none. */
  readonly receipt: RecordBodies['call.receipt']['receipt'] | undefined;
  readonly isOpen: boolean;
}

export interface Times {
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}

/** The story of the turn or call with the id, or of what happened last. */
export function storyOf(evidence: Evidence, id: string | undefined): Story | undefined {
  const subject = id === undefined ? newest(evidence) : named(evidence, id);
  if (subject === undefined) return undefined;
  if (typeof subject !== 'string') {
    const lines = beside(evidence.lines, { from: subject.time, to: subject.time });
    const { error_id: errorId, msg } = subject.fields;
    return {
      turn: undefined,
      refusal: errorOf(errorId, msg),
      calls: [],
      lines: [...lines, subject],
    };
  }
  const records = evidence.turns.get(subject) ?? [];
  const own = evidence.lines.filter(({ fields }) => fields.turn_id === subject);
  const callIds = [...records.map((record) => idsOf(record).callId), ...own.map(callIdOf)];
  const wanted = callIds.filter((callId) => isNamed(callId, id));
  const shown = wanted.length > 0 && !isNamed(subject, id) ? wanted : callIds;
  const calls = [...new Set(shown)].flatMap((callId) =>
    callId === undefined ? [] : [callStory(callId, records, own)],
  );
  const turn = turnStory(subject, records, own);
  return { turn, refusal: undefined, calls, lines: linesOf(evidence.lines, { turn, own, calls }) };
}

function callIdOf({ fields }: LogLine): string | undefined {
  return typeof fields.call_id === 'string' ? fields.call_id : undefined;
}

/** The id of a turn, or the line of a request that became none. */
function newest({ turns, lines }: Evidence): string | LogLine | undefined {
  const turnId = [...turns.keys()].at(-1);
  const recordedAt = (turnId && turns.get(turnId)?.at(-1)?.at) || '';
  const line = lines.findLast((one) => one.fields.turn_id !== undefined || isRefusal(one, lines));
  if (line === undefined || line.time < recordedAt) return turnId;
  return typeof line.fields.turn_id === 'string' ? line.fields.turn_id : line;
}

/** The RPC of a turn that failed fails with it, just after it. */
const SAME_FAILURE_MS = 1_000;

function isRefusal({ time, fields }: LogLine, lines: readonly LogLine[]): boolean {
  const { method, error_id: errorId } = fields;
  if (typeof errorId !== 'string' || !String(method).includes('AgentService')) return false;
  return !lines.some(
    (one) =>
      one.fields.msg === 'turn ended' &&
      one.fields.error_id === errorId &&
      Math.abs(Date.parse(time) - Date.parse(one.time)) < SAME_FAILURE_MS,
  );
}

function named({ turns, lines }: Evidence, id: string): string | undefined {
  const found = new Set<string>();
  for (const [turnId, records] of turns) {
    const ids = [turnId, ...records.map((record) => idsOf(record).callId)];
    if (ids.some((one) => isNamed(one, id))) found.add(turnId);
  }
  for (const { fields } of lines) {
    const { turn_id: turnId, call_id: callId } = fields;
    if (typeof turnId !== 'string') continue;
    if (isNamed(turnId, id) || isNamed(callId, id)) found.add(turnId);
  }
  if (found.size <= 1) return [...found][0];
  const list = [...found].slice(0, 5).join(', ');
  throw new ZlError('request.invalid', `${id} begins the ids of several turns: ${list}`);
}

function turnStory(
  turnId: string,
  records: readonly LedgerRecord[],
  own: readonly LogLine[],
): TurnStory {
  const record = bodyOf(records, 'turn');
  const line = own.find(({ fields }) => fields.msg === 'turn ended')?.fields;
  const first = records[0]?.at ?? own[0]?.time ?? '';
  const { tenant, user } = record ?? line ?? own[0]?.fields ?? {};
  return {
    turnId,
    outcome: record?.outcome ?? textOf(line?.outcome),
    isRecorded: record !== undefined,
    at: record?.startedAt ?? first,
    error: errorOf(record?.errorId ?? line?.error_id, messageOf(line?.err)),
    steps: record?.steps ?? numberOf(line?.steps),
    seconds: numberOf(line?.seconds) ?? secondsOf(record),
    who: user === undefined ? '' : `${user}@${tenant}`,
    parentCallId: record?.parentCallId,
    withheld: bodyOf(records, 'policy.withheld'),
  };
}

function secondsOf(record: RecordBodies['turn'] | undefined): number | undefined {
  if (record === undefined) return undefined;
  return (Date.parse(record.endedAt) - Date.parse(record.startedAt)) / 1000;
}

function callStory(
  callId: string,
  turnRecords: readonly LedgerRecord[],
  own: readonly LogLine[],
): CallStory {
  const records = turnRecords.filter((record) => idsOf(record).callId === callId);
  const intent = bodyOf(records, 'call.intent');
  const envelope = bodyOf(records, 'call.receipt')?.receipt;
  const receipt = envelope && peekReceipt(envelope);
  const line = own.find(
    ({ fields }) => fields.call_id === callId && fields.msg === 'call ended',
  )?.fields;
  const denial = bodyOf(records, 'policy.denied');
  const device = receipt?.deviceId ?? intent?.deviceId ?? denial?.deviceId ?? line?.device_id;
  const executor = receipt?.executor ?? intent?.executor ?? line?.executor;
  return {
    callId,
    tool: receipt?.tool ?? intent?.tool ?? denial?.tool ?? String(line?.tool),
    // The host takes back what it could not record.
    outcome: textOf(line?.outcome) ?? receipt?.outcome,
    decision: decisionOf({ denial, line, ...(receipt ?? intent) }),
    where: executor === 'host' ? 'the host itself' : `device ${textOf(device) || '(none)'}`,
    error: errorOf(line?.error_id ?? receipt?.errorId, line?.why),
    times: timesOf(line) ?? (receipt && { ...NO_HOPS, totalUs: receipt.elapsedUs }),
    receipt: envelope,
    isOpen: intent !== undefined && envelope === undefined,
  };
}

const NO_HOPS = { remoteUs: 0, deviceUs: 0, serverUs: 0 };

function decisionOf(known: {
  readonly denial?: RecordBodies['policy.denied'] | undefined;
  readonly line?: LogLine['fields'] | undefined;
  readonly policyId?: string | undefined;
  readonly outcome?: string;
}): string {
  const { denial, line, policyId = line?.policy_id, outcome = line?.outcome } = known;
  if (denial !== undefined) {
    const by = denial.policyId === undefined ? '' : ` by ${denial.policyId}`;
    return `denied on the host${by}: ${denial.reason}`;
  }
  if (line?.effect !== undefined && line.effect !== 'allow') {
    return `denied on the host: ${line.why}`;
  }
  if (!policyId) return 'none: the call ended before policy was asked';
  const rule = typeof line?.rule_id === 'string' ? `, rule ${line.rule_id}` : '';
  const allowed = `allowed on the host by ${policyId}${rule}`;
  return outcome === 'denied' ? `${allowed}; denied on the device` : allowed;
}

function timesOf(line: LogLine['fields'] | undefined): Times | undefined {
  const totalUs = numberOf(line?.total_us);
  if (line === undefined || totalUs === undefined) return undefined;
  const { remote_us: remote, device_us: device, server_us: server } = line;
  return {
    totalUs,
    remoteUs: numberOf(remote) ?? 0,
    deviceUs: numberOf(device) ?? 0,
    serverUs: numberOf(server) ?? 0,
  };
}

/** What went wrong elsewhere may be logged a little before or after. */
const BESIDE_MS = 2_000;
const MAX_LINES = 60;

function linesOf(
  lines: readonly LogLine[],
  { turn, own, calls }: { turn: TurnStory; own: readonly LogLine[]; calls: readonly CallStory[] },
): readonly LogLine[] {
  const traces = new Set(own.flatMap(({ fields }) => fields.trace_id ?? []));
  const callIds = new Set<unknown>(calls.map(({ callId }) => callId));
  const end = new Date(Date.parse(turn.at) + (turn.seconds ?? 0) * 1000).toISOString();
  const others = new Set(beside(lines, { from: turn.at, to: end }));
  const fitting = lines.filter((line) => {
    const { trace_id: trace, call_id: callId, turn_id: turnId } = line.fields;
    const isOwn = traces.has(trace ?? '') || callIds.has(callId) || turnId === turn.turnId;
    return isOwn || others.has(line);
  });
  return fitting.slice(-MAX_LINES);
}

/** Warnings and errors outside of turns, and devices that connect or leave. */
function beside(
  lines: readonly LogLine[],
  { from, to }: { readonly from: string; readonly to: string },
): readonly LogLine[] {
  const [fromMs, toMs] = [Date.parse(from) - BESIDE_MS, Date.parse(to) + BESIDE_MS];
  const fitting = lines.filter(({ time, fields }) => {
    const timeMs = Date.parse(time);
    const isWarning = fields.level === 'warn' || fields.level === 'error';
    const isDevice = fields.connection !== undefined || fields.epoch !== undefined;
    const isNotable = (isWarning || isDevice) && fields.turn_id === undefined;
    return isNotable && timeMs >= fromMs && timeMs <= toMs;
  });
  return fitting.slice(-MAX_LINES);
}

function errorOf(id: unknown, message: unknown): ErrorStory | undefined {
  if (typeof id !== 'string' || id === 'none') return undefined;
  const help = isErrorId(id) ? CATALOGUE[id].help : '';
  return { id, message: typeof message === 'string' ? message : '', help };
}

function messageOf(err: unknown): unknown {
  return typeof err === 'object' && err !== null && 'message' in err ? err.message : undefined;
}

function bodyOf<Kind extends LedgerRecord['kind']>(
  records: readonly LedgerRecord[],
  kind: Kind,
): RecordBodies[Kind] | undefined {
  for (const record of records) {
    if (isOfKind(record, kind)) return record.body;
  }
  return undefined;
}

function isOfKind<Kind extends LedgerRecord['kind']>(
  record: LedgerRecord,
  kind: Kind,
): record is Extract<LedgerRecord, { kind: Kind }> & { readonly body: RecordBodies[Kind] } {
  return record.kind === kind;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
