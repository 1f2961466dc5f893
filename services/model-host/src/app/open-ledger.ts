import { readFile } from 'node:fs/promises';
import type { ZlError } from '@zerolatency/errors';
import {
  openLedger,
  openLedgerIn,
  type RecordBodies,
  type WriterOptions,
} from '@zerolatency/ledger';
import type { PostgresLedgers } from '@zerolatency/ledger/postgres';
import { counted } from '@zerolatency/service/counted';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Signer } from '@zerolatency/signing';
import manifest from '../../package.json' with { type: 'json' };
import { CheckpointExport } from '../adapters/ledger/checkpoint-export.ts';
import { HostLedger } from '../adapters/ledger/host-ledger.ts';
import { createCallLedger, openCalls } from '../adapters/ledger/records.ts';
import { type CloseOpenIntentsOptions, closeOpenIntents } from '../calls/close-open-intents.ts';
import type { HostConfig } from '../config.ts';
import { checkpointExports, exposeExport, exposeLedger, ledgerMetrics } from '../metrics.ts';
import type { HostDeps } from './open-tools.ts';

type HostStarted = RecordBodies['host.started'];

/** The contract of host.stopped bounds the reason. */
const MAX_REASON_CHARS = 1024;

export interface OpenedLedger {
  readonly ledger: HostLedger;
  /** Undefined where ledgers are files: then nobody else can end this one. */
  readonly pool: PostgresLedgers | undefined;
}

interface LedgerDeps extends HostDeps {
  readonly signer: Signer;
  readonly onReopened: () => void;
}

/** Opens the ledger and records the host's start, and its stop when it drains. */
export async function openHostLedger(config: HostConfig, deps: LedgerDeps): Promise<OpenedLedger> {
  const { lifecycle, log, registry, signer } = deps;
  const { origin } = config.ledger;
  const observer = ledgerMetrics(registry);
  const pool = await openPool(config, { env: deps.env, onSynced: observer.synced });
  const writer: WriterOptions = { origin, signer, observer };
  const { dir, stateFile } = config.ledger;
  const files = { dir, ...(stateFile !== '' && { floorFile: stateFile }) };
  const ledger: HostLedger = await HostLedger.open({
    open: (more) =>
      pool === undefined
        ? openLedger({ ...files, ...writer, ...more })
        : openLedgerIn(pool.create(), { ...writer, ...more }),
    ...reports(pool, { ...deps, size: (): number => ledger.size }),
  }).catch(async (reason) => {
    await pool?.close();
    throw reason;
  });
  exposeLedger(registry, () => ledger.size);
  const host: HostStarted = { version: manifest.version, configDigest: config.digest };
  lifecycle.onDrain('ledger', async () => {
    const stopped = { ...host, ...reasonOf(lifecycle) };
    await closeWith(ledger, { body: stopped, isEnd: pool !== undefined });
    await pool?.close();
  });
  if (ledger.isCorrupt) return { ledger, pool };
  if (ledger.adopted > 0) {
    log.warn({ records: ledger.adopted }, 'records that a crash had left unsigned were adopted');
  }
  // Awaited, so that a disk that cannot be written fails the start and not the first call.
  await ledger.append({ kind: 'host.started', body: host });
  return { ledger, pool };
}

/** A host whose ledger lies in PostgreSQL chats on without it, so that it stays ready. */
function reports(
  pool: PostgresLedgers | undefined,
  { lifecycle, log, onReopened, size }: LedgerDeps & { readonly size: () => number },
) {
  let goOn = () => {};
  return {
    onFailed: (err: ZlError) => {
      const isCorrupt = err.id === 'ledger.corrupt';
      const untilThen = pool === undefined ? 'no turn begins' : 'tools are refused';
      const follows = isCorrupt
        ? 'is corrupt, so tools are refused and turns are not recorded'
        : `takes no records, so ${untilThen} until it does`;
      log.error({ err, help: err.help }, `the ledger ${follows}`);
      goOn();
      if (pool !== undefined && !isCorrupt) return;
      const fault = isCorrupt ? 'is corrupt' : 'cannot be written';
      goOn = lifecycle.pause(`the ledger ${fault}: ${err.message}`);
    },
    onReopened: () => {
      log.warn({ records: size() }, 'the ledger takes records again');
      goOn();
      onReopened();
    },
  };
}

async function openPool(
  { ledger, postgres }: HostConfig,
  deps: { readonly env: HostDeps['env']; readonly onSynced: (seconds: number) => void },
): Promise<PostgresLedgers | undefined> {
  if (ledger.engine === 'files' || postgres === undefined) return undefined;
  // A host with files starts without a PostgreSQL client.
  const { PostgresLedgers } = await import('@zerolatency/ledger/postgres');
  return PostgresLedgers.open(postgres, { ...deps, origin: ledger.origin });
}

interface AdoptionDeps {
  readonly lifecycle: Pick<Lifecycle, 'onDrain'>;
  readonly log: Record<'warn' | 'error', (fields: Record<string, unknown>, what: string) => void>;
  readonly origin: string;
  /** Of the host that ends them. */
  readonly own: Pick<HostLedger, 'ledgerId'>;
  readonly signer: Signer;
  readonly executors: CloseOpenIntentsOptions['executors'];
}

/** Ends the ledgers of hosts of this pool that are gone: their open calls get an outcome first. */
export function adoptLedgers(pool: PostgresLedgers, deps: AdoptionDeps): void {
  const { lifecycle, log } = deps;
  let running: Promise<void> = Promise.resolve();
  const look = async () => {
    for (const store of await pool.takeAbandoned()) {
      await adopt(store, deps).catch((err) =>
        log.error(
          { err, ledger_id: store.ledgerId },
          'the ledger of a host that is gone was not ended',
        ),
      );
    }
  };
  const timer = setInterval(() => {
    // One at a time. While PostgreSQL is away there is nothing to take, and the own ledger says so.
    running = running.then(look).catch(() => {});
  }, pool.beatEveryMs).unref();
  lifecycle.onDrain('devices', async () => {
    clearInterval(timer);
    await running;
  });
}

async function adopt(
  store: ReturnType<PostgresLedgers['create']>,
  { origin, own, signer, executors, log }: AdoptionDeps,
): Promise<void> {
  const ledger = await openLedgerIn(store, { origin, signer });
  try {
    const calls = { open: openCalls(ledger), executors, ledger: createCallLedger(ledger), signer };
    const outcomes = await closeOpenIntents(calls);
    await ledger.end(own.ledgerId);
    const fields = { ledger_id: ledger.ledgerId, records: ledger.size, outcomes };
    log.warn(fields, 'the ledger of a host that is gone was ended');
  } finally {
    // Without effect on one that has ended.
    await ledger.close();
  }
}

export async function openExport(
  target: HostConfig['ledger']['export'],
  { lifecycle, log, registry }: HostDeps,
  ledger: HostLedger,
): Promise<CheckpointExport | undefined> {
  if (target === undefined) return undefined;
  const { caFile, ...to } = target;
  const opened = new CheckpointExport({
    ...to,
    ca: caFile === '' ? undefined : await readFile(caFile, 'utf8'),
    newest: async () => (ledger.isCorrupt ? '' : ledger.checkpoint()),
    onAttempt: checkpointExports(registry),
    log,
  });
  exposeExport(registry, () => opened.currentAtMs);
  lifecycle.onDrain('checkpoint export', (deadline) => opened.close(deadline));
  return opened;
}

async function closeWith(
  ledger: HostLedger,
  { body, isEnd }: { readonly body: HostStarted; readonly isEnd: boolean },
): Promise<void> {
  try {
    if (!ledger.isCorrupt) ledger.appendSoon({ kind: 'host.stopped', body });
  } finally {
    // A ledger that has failed rejects with the reason, and releases its lock.
    await (isEnd ? ledger.end() : ledger.close());
  }
}

function reasonOf({ detail }: Lifecycle): { reason?: string } {
  if (!('reason' in detail)) return {};
  return { reason: detail.reason.slice(0, MAX_REASON_CHARS).toWellFormed() };
}

export function ledgerCheck(ledger: HostLedger): ComponentCheck {
  return async () => {
    const { failure, size } = ledger;
    if (failure !== undefined) throw failure;
    return { status: 'ok', detail: `open, ${counted(size, 'record')}` };
  };
}
