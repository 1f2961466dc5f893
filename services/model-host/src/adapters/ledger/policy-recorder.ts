import type { Ledger, RecordBodies } from '@zerolatency/ledger';
import type { BundleState } from '@zerolatency/policy';

interface Log {
  error(fields: object, message: string): void;
}

/**
 * Puts into the ledger what calls are decided by from here on. The holder tells
 * it in the turn of the first decision under the new state, before that decision
 * is given, and records stay in the order of their appends: nothing decided
 * under a bundle is ever on disk without the record of that bundle before it.
 * So it need not be waited for, and costs a call what appending costs.
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
      // No harm to the decision: a ledger that takes nothing takes no call's intent either.
      log.error({ err, ...body }, 'a change of policy could not be recorded');
    }
  };
}

function bodyOf(now: BundleState): RecordBodies['policy.changed'] {
  if (now.state === 'none') return { state: now.state };
  const { state, policyId, digest, bundle } = now;
  return { state, policyId, policyDigest: digest, version: bundle.version };
}
