import { isErrorId } from '@zerolatency/errors';
import type { Ledger } from '@zerolatency/ledger';
import type { Recorder, TurnRecord } from '../../ports.ts';

/** Writes the records of turns to this host's ledger. */
export function createRecorder({ ledger }: { ledger: Pick<Ledger, 'append'> }): Recorder {
  return {
    async recordTurn(record) {
      const { leafHash } = await ledger.append({ kind: 'turn', body: turnBody(record) });
      // The record's leaf in the Merkle tree is unique, and proofs of inclusion start from it.
      return leafHash;
    },
  };
}

function turnBody({ scope, startedAtMs, endedAtMs, errorId, ...counted }: TurnRecord) {
  const { identity, turnId, sessionId, deviceId } = scope;
  return {
    ...counted,
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
