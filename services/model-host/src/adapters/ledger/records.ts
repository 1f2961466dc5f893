import { isErrorId, ZlError } from '@zerolatency/errors';
import type { Ledger, OpenIntent, RecordBodies } from '@zerolatency/ledger';
import type { BundleState } from '@zerolatency/policy';
import type { Digest } from '@zerolatency/signing';
import type { CallLedger, OpenCall } from '../../calls/ports.ts';
import type { Recorder, TurnRecord } from '../../ports.ts';

/** The contract of policy.denied bounds the reason. */
const MAX_REASON_CHARS = 1024;

/** As the contract of policy.withheld says. */
const MAX_WITHHELD_NAMED = 100;

export interface HostCallLedger extends CallLedger {
  /**
   * Asked once, for a turn that ends: its calls of which the ledger kept the intent or the
   * receipt. While it failed it may have kept neither.
   */
  keptOf(callIds: readonly string[]): string[];
  /** Whether a call of this process has an intent and will still have its receipt. */
  isUnderWay(callId: string): boolean;
}

export function createCallLedger(
  ledger: Pick<Ledger, 'append' | 'appendSoon' | 'openIntents' | 'ledgerId' | 'late'>,
): HostCallLedger {
  const underWay = new Set<string>();
  const unconcluded = new Set<string>();
  /** The ledger with the first record of each call: another host may end it before the call ends. */
  const begunIn = new Map<string, string>();
  return {
    keptOf: (callIds) => {
      const { ledgerId, late } = ledger;
      const here = callIds.filter((callId) => (begunIn.get(callId) ?? ledgerId) === ledgerId);
      for (const callId of callIds) begunIn.delete(callId);
      const failed = new Set(callIds.filter((callId) => unconcluded.delete(callId)));
      if (failed.size === 0) return here;
      const open = new Set(ledger.openIntents().map(({ body }) => body.callId));
      return here.filter((id) => !failed.has(id) || open.has(id) || late.has(id));
    },
    isUnderWay: (callId) => underWay.has(callId),
    intend(facts, target, durable) {
      const { startedAt: _, ...known } = facts;
      underWay.add(facts.callId);
      begunIn.set(facts.callId, ledger.ledgerId);
      const body = {
        ...known,
        argumentSalt: hexOf(facts.argumentSalt),
        ...(target && {
          journalId: hexOf(target.journalId),
          requestDigest: digestOf(target.requestDigest),
          deadlineUnixMs: Math.floor(target.deadlineMs),
        }),
      };
      const entry = { kind: 'call.intent', body } as const;
      if (durable) return ledger.append(entry).then(nothing, refuse);
      try {
        ledger.appendSoon(entry);
        return undefined;
      } catch (reason) {
        return refuse(reason);
      }
    },
    denied(facts, { ruleId, reason }) {
      begunIn.set(facts.callId, ledger.ledgerId);
      const { startedAt: _, executor: __, caps: ___, toolVersion: ____, ...known } = facts;
      const body = {
        ...known,
        argumentSalt: hexOf(facts.argumentSalt),
        ruleId,
        reason: reason.slice(0, MAX_REASON_CHARS).toWellFormed(),
      };
      try {
        ledger.appendSoon({ kind: 'policy.denied', body });
      } catch (cause) {
        refuse(cause);
      }
    },
    conclude({ callId, argumentSalt }, receipt) {
      const body = { callId, argumentSalt: hexOf(argumentSalt), receipt };
      unconcluded.add(callId);
      const home = begunIn.get(callId) ?? ledger.ledgerId;
      begunIn.set(callId, home);
      const appended =
        home === ledger.ledgerId
          ? ledger.append({ kind: 'call.receipt', body })
          : Promise.reject(new ZlError('ledger.failed', `another host has ended ledger ${home}`));
      const concluded = appended.then(() => void unconcluded.delete(callId), refuse);
      return concluded.finally(() => underWay.delete(callId));
    },
  };
}

/** The calls that were left without a receipt before the ledger was opened. */
export function openCalls(ledger: Pick<Ledger, 'openIntents'>): OpenCall[] {
  return ledger.openIntents().map(openCall);
}

function openCall({ at, body }: OpenIntent): OpenCall {
  const { journalId, requestDigest, deadlineUnixMs, sessionId: _, caps = {}, ...known } = body;
  const argumentSalt = Buffer.from(body.argumentSalt, 'hex');
  const facts = { ...known, argumentSalt, caps, startedAt: at };
  if (journalId === undefined || requestDigest === undefined) return { facts, target: undefined };
  const target = {
    journalId: Buffer.from(journalId, 'hex'),
    requestDigest: Buffer.from(requestDigest.slice('sha256:'.length), 'hex'),
    deadlineMs: deadlineUnixMs ?? 0,
  };
  return { facts, target };
}

/** Writes the records of turns. The audit id is the record's leaf, where its inclusion proof starts. */
export function createRecorder(
  ledger: Pick<Ledger, 'append' | 'appendSoon' | 'checkpoint'>,
): Recorder {
  return {
    recordWithheld({ identity, turnId, deviceId }, { tools, ...policy }) {
      const body = {
        ...{ turnId, tenant: identity.tenant, user: identity.user },
        ...(deviceId !== '' && { deviceId }),
        ...policy,
        count: tools.length,
        tools: tools.slice(0, MAX_WITHHELD_NAMED).map(({ tool, ruleId }) => ({ tool, ruleId })),
      };
      try {
        ledger.appendSoon({ kind: 'policy.withheld', body });
      } catch (cause) {
        refuse(cause);
      }
    },
    async recordTurn(record) {
      const { leafHash } = await ledger.append({ kind: 'turn', body: turnBody(record) });
      return leafHash;
    },
    checkpoint: () => ledger.checkpoint(),
  };
}

/** Each field by name: a record with any other is refused. */
function turnBody({ scope, startedAtMs, endedAtMs, errorId, ...turn }: TurnRecord) {
  const { identity, turnId, sessionId, deviceId } = scope;
  const { parentCallId, outcome, steps, inputTokens, outputTokens, costNanoUsd, callIds } = turn;
  return {
    ...{ parentCallId, outcome, steps, inputTokens, outputTokens, costNanoUsd, callIds },
    turnId,
    sessionId,
    tenant: identity.tenant,
    user: identity.user,
    deviceId: deviceId || undefined,
    errorId: errorId !== undefined && isErrorId(errorId) ? errorId : undefined,
    startedAt: new Date(startedAtMs).toISOString(),
    endedAt: new Date(endedAtMs).toISOString(),
  };
}

/**
 * Records which bundle decides from now on, before the first decision under it.
 * The ledger keeps the order of its appends, so nobody waits for the write.
 */
export function recordPolicy(
  ledger: Pick<Ledger, 'appendSoon' | 'keepBundle'>,
  log: PolicyLog,
): (now: BundleState) => void {
  return (now) => {
    const entry = keptPolicyEntry(ledger, now, log);
    try {
      ledger.appendSoon(entry);
    } catch (err) {
      // The decision may stand: a ledger that refuses this record refuses every call's intent too,
      // and when it is opened again the policy comes first.
      log.error({ err, ...entry.body }, 'a change of policy could not be recorded');
    }
  };
}

interface PolicyLog {
  error(fields: object, message: string): void;
}

/** The entry, once the bundle that it names is beside the ledger. */
export function keptPolicyEntry(
  ledger: Pick<Ledger, 'keepBundle'>,
  now: BundleState,
  log: PolicyLog,
) {
  const entry = policyEntry(now);
  try {
    if (now.state !== 'none') ledger.keepBundle(now.digest, now.content);
  } catch (err) {
    // Decisions stay on record; only nobody can make them again without the bundle.
    log.error({ err, ...entry.body }, 'a bundle could not be kept beside the ledger');
  }
  return entry;
}

export function policyEntry(now: BundleState) {
  return { kind: 'policy.changed', body: policyBody(now) } as const;
}

function policyBody(now: BundleState): RecordBodies['policy.changed'] {
  if (now.state === 'none') return { state: now.state };
  const { state, name: policyId, digest, content } = now;
  return { state, policyId, policyDigest: digest, version: content.version };
}

function nothing(): void {}

function refuse(reason: unknown): never {
  if (reason instanceof ZlError && reason.id.startsWith('ledger.')) throw reason;
  const why = reason instanceof Error ? reason.message : String(reason);
  throw new ZlError('ledger.failed', `the ledger refused a record: ${why}`, { cause: reason });
}

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${hexOf(bytes)}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
