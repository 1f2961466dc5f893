import { type Ledger, openLedger, type RecordBodies } from '@zerolatency/ledger';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import type { Signer } from '@zerolatency/signing';
import type { HostConfig } from '../config.ts';
import { exposeLedger, ledgerMetrics } from '../metrics.ts';

type HostStarted = RecordBodies['host.started'];

/** The contract of host.stopped bounds the reason. */
const MAX_REASON_CHARS = 1024;

interface LedgerDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly signer: Signer;
  readonly version: string;
}

/** Opens the ledger and records the host's start, and its stop when it drains. */
export async function openHostLedger(config: HostConfig, deps: LedgerDeps): Promise<Ledger> {
  const { lifecycle, log, registry, signer, version } = deps;
  const ledger = await openLedger({
    dir: config.ledger.dir,
    origin: config.ledger.origin,
    signer,
    onFailure: (err) => log.error({ err }, 'the ledger accepts no more records'),
    observer: ledgerMetrics(registry),
  });
  exposeLedger(registry, () => ledger.size);
  const host: HostStarted = { version, configDigest: config.digest };
  lifecycle.onDrain('ledger', () => closeWith(ledger, { ...host, ...reasonOf(lifecycle) }));
  // Awaited, so that a disk that cannot be written fails the start and not the first call.
  await ledger.append({ kind: 'host.started', body: host });
  return ledger;
}

async function closeWith(ledger: Ledger, body: HostStarted): Promise<void> {
  try {
    ledger.appendSoon({ kind: 'host.stopped', body });
  } finally {
    // A ledger that has failed rejects with the reason, and releases its lock.
    await ledger.close();
  }
}

function reasonOf({ detail }: Lifecycle): { reason?: string } {
  return 'reason' in detail
    ? { reason: detail.reason.slice(0, MAX_REASON_CHARS).toWellFormed() }
    : {};
}

export function ledgerCheck(ledger: Ledger): ComponentCheck {
  return async () => {
    const { state, size } = ledger;
    return { status: state === 'open' ? 'ok' : 'down', detail: `${state}, ${size} records` };
  };
}
