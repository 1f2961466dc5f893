import type { Ledger, RecordBodies } from '@zerolatency/ledger';
import type { BundleState } from '@zerolatency/policy';

interface Log {
  error(fields: object, message: string): void;
}

/**
 * Records in the ledger which bundle decides from here on. The holder calls it
 * before the first decision under the new state is given, and the ledger keeps
 * the order of its appends: no decision is on disk without the record of its
 * bundle before it. So nobody waits for the write.
 */
export function recordPolicy(
  ledger: Pick<Ledger, 'appendSoon'>,
  log: Log,
): (now: BundleState) => void {
  return (now) => {
    const body = bodyOf(now);
    try {
      ledger.appendSoon({ kind: 'policy.changed', body });
    } catch (err) {
      // The decision may stand: a ledger that takes no record takes no call's intent either.
      log.error({ err, ...body }, 'a change of policy could not be recorded');
    }
  };
}

function bodyOf(now: BundleState): RecordBodies['policy.changed'] {
  if (now.state === 'none') return { state: now.state };
  const { state, name: policyId, digest, content } = now;
  return { state, policyId, policyDigest: digest, version: content.version };
}
