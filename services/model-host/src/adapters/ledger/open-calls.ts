import type { Ledger, OpenIntent } from '@zerolatency/ledger';
import type { OpenCall } from '../../calls/executor.ts';

const CALL_ID = /^[0-9a-f]{32}$/;

/** The calls that an earlier run of this host left without a receipt. */
export function openCalls(ledger: Pick<Ledger, 'openIntents'>): OpenCall[] {
  return ledger.openIntents().map(openCall);
}

function openCall({ at, body }: OpenIntent): OpenCall {
  const { journalId, requestDigest, deadlineUnixMs, sessionId: _, caps = {}, ...known } = body;
  const argumentSalt = Buffer.from(body.argumentSalt, 'hex');
  const facts = { ...known, argumentSalt, caps, startedAt: at };
  if (journalId === undefined || requestDigest === undefined || !CALL_ID.test(facts.callId)) {
    return { facts, target: undefined };
  }
  const target = {
    journalId: Buffer.from(journalId, 'hex'),
    requestDigest: Buffer.from(requestDigest.slice('sha256:'.length), 'hex'),
    deadlineMs: deadlineUnixMs ?? 0,
  };
  return { facts, target };
}
