import { type Ledger, openLedger, type RecordBodies } from '@zerolatency/ledger';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { HostConfig } from '../config.ts';
import { exposeLedger, ledgerMetrics } from '../metrics.ts';

type HostStarted = RecordBodies['host.started'];

interface LedgerDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly signer: Signer;
  readonly version: string;
}

/** The ledger of this host, which begins with the host's start and ends with its stop. */
export async function openHostLedger(config: HostConfig, deps: LedgerDeps): Promise<Ledger> {
  const { lifecycle, log, registry, signer, version } = deps;
  const ledger = await openLedger({
    dir: config.ledger.dir,
    origin: config.ledger.origin,
    signer,
    onFailure: (err) => log.error({ err }, 'the ledger takes no more records'),
    observer: ledgerMetrics(registry),
  });
  exposeLedger(registry, () => ledger.size);
  const host: HostStarted = { version, configDigest: config.digest };
  lifecycle.onDrain('ledger', () => closeWith(ledger, { ...host, ...reasonOf(lifecycle) }));
  // Waited for, so that a disk that takes nothing stops the start and not the first call.
  await ledger.append({ kind: 'host.started', body: host });
  return ledger;
}

async function closeWith(ledger: Ledger, body: HostStarted): Promise<void> {
  try {
    ledger.appendSoon({ kind: 'host.stopped', body });
  } finally {
    // Of a ledger that has failed this tells why, and gives up its lock.
    await ledger.close();
  }
}

function reasonOf({ detail }: Lifecycle): { reason?: string } {
  return 'reason' in detail ? { reason: detail.reason } : {};
}

export function ledgerCheck(ledger: Ledger): ComponentCheck {
  return async () => {
    const { state, size } = ledger;
    return { status: state === 'open' ? 'ok' : 'down', detail: `${state}, ${size} records` };
  };
}
