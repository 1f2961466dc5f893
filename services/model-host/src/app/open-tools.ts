import { existsSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tracer } from '@opentelemetry/api';
import { loadToolContracts } from '@zerolatency/contracts';
import type { ZlError } from '@zerolatency/errors';
import { watchKeySet } from '@zerolatency/identity';
import { BundleHolder, type BundleState } from '@zerolatency/policy';
import {
  RegistrarClient,
  type RevocationFiles,
  type Revocations,
  watchRevocations,
} from '@zerolatency/revocations';
import { resolveSecret } from '@zerolatency/service/config';
import { counted } from '@zerolatency/service/counted';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import { watchTls } from '@zerolatency/service/tls';
import {
  type DocumentWatch,
  type FloorMark,
  memoryFloor,
  openFloorFile,
  signerFromPem,
  watchDocument,
} from '@zerolatency/signing';
import type { HostLedger } from '../adapters/ledger/host-ledger.ts';
import { patientRecorder } from '../adapters/ledger/patient-recorder.ts';
import {
  createCallLedger,
  createRecorder,
  type HostCallLedger,
  keptPolicyEntry,
  openCalls,
  recordPolicy,
} from '../adapters/ledger/records.ts';
import { createRelayClient, type RelayClient } from '../adapters/relay/relay-client.ts';
import { type CloseOpenIntentsOptions, closeOpenIntents } from '../calls/close-open-intents.ts';
import { createToolboxes } from '../calls/toolbox.ts';
import type { HostConfig } from '../config.ts';
import type { OverviewSources } from '../console/overview.ts';
import type { RecentTurns } from '../console/recent-turns.ts';
import { agentExecutor } from '../executors/agent/agent-executor.ts';
import { deviceExecutor } from '../executors/device/device-executor.ts';
import { NO_DEVICES } from '../executors/device/remote-call.ts';
import type { Quotas } from '../limits/quotas.ts';
import {
  bundleRefusals,
  exposeBundle,
  exposeRevocations,
  relayMetrics,
  revocationRefusals,
  toolMetrics,
} from '../metrics.ts';
import type { Recorder, Toolboxes } from '../ports.ts';
import { adoptLedgers, ledgerCheck, openExport, openHostLedger } from './open-ledger.ts';
import { openWitnesses } from './open-witnesses.ts';
import { logCalls } from './turn-telemetry.ts';

export interface HostDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly tracer: Tracer;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Kept for the console, where there is one. */
  readonly recent?: RecentTurns | undefined;
}

export interface ToolsDeps extends HostDeps {
  readonly quotas: Pick<Quotas, 'toolCall'>;
}

export interface OpenedTools {
  readonly toolboxes: Toolboxes;
  readonly recorder: Recorder;
  /** Throws while nothing can be recorded. */
  assertWritable(): void;
  readonly components: Readonly<Record<string, ComponentCheck>>;
  readonly overview: OverviewSources;
}

/** The contracts that ship with the host: beside the bundle, or in the source tree. */
const DEFAULT_CONTRACTS_DIR = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../../../contracts/tools' : 'contracts/tools',
    import.meta.url,
  ),
);

/** Opens the ledger, the policy and the routes to devices; the drain closes them. */
export async function openTools(config: HostConfig, deps: ToolsDeps): Promise<OpenedTools> {
  const readText = (path: string) => readFile(path, 'utf8');
  const key = await resolveSecret(config.ledger.key, { env: deps.env, readFile: readText });
  const signer = signerFromPem(key);
  const { log, registry, tracer, recent } = deps;
  let onReopened = () => {};
  const opening = { ...deps, signer, onReopened: () => onReopened() };
  const { ledger, pool } = await openHostLedger(config, opening);
  const exporting = await openExport(config.ledger.export, deps, ledger);
  const onChange = recordPolicy(ledger, log);
  const { policy, policyCheck } = await openPolicy(config, { ...deps, onChange });
  ledger.resumeWith(() => keptPolicyEntry(ledger, policy.current(Date.now()), log));
  const { relay, checks: relayChecks } = await openRelay(config.relay, deps);
  const callLedger = createCallLedger(ledger);
  const metrics = toolMetrics(registry);
  const { timeoutMs, maxResultBytes: maxBytes, callsPerTurn, contractsDir } = config.tools;
  const contracts = loadToolContracts(contractsDir || DEFAULT_CONTRACTS_DIR);
  const executors = [
    ...(config.agents.length > 0 ? [agentExecutor(config.agents)] : []),
    deviceExecutor({
      devices: relay ?? NO_DEVICES,
      contracts,
      onResumed: metrics.resumed,
      onWithheld: (device, withheld, count) =>
        log.warn({ ...device, count, withheld }, 'tools of the device are not offered'),
    }),
  ];
  const closeEarlier = () => {
    const open = openCalls(ledger).filter(({ facts }) => !callLedger.isUnderWay(facts.callId));
    return closeEarlierCalls({ open, executors, ledger: callLedger, signer }, log);
  };
  await closeEarlier();
  if (pool !== undefined) {
    adoptLedgers(pool, { ...deps, origin: config.ledger.origin, own: ledger, signer, executors });
  }
  const recording = pool && patientRecorder(ledger, callLedger, log);
  onReopened = () => {
    recording?.recordWaiting();
    closeEarlier().catch((err) => log.error({ err }, 'calls without a receipt were not closed'));
  };
  const logCall = logCalls(log);
  const devices = relay ?? NO_DEVICES;
  const witnesses = openWitnesses({ ...deps, devices, ledger, signer });
  const toolboxes = createToolboxes({
    executors,
    policy,
    ledger: callLedger,
    signer,
    limits: { timeoutMs, maxBytes, callsPerTurn },
    quotas: deps.quotas,
    metrics,
    onEnded: (call) => {
      logCall(call);
      recent?.called(call);
      witnesses.called(call);
    },
    tracer,
  });
  return {
    toolboxes,
    ...(recording
      ? { recorder: recording, assertWritable: () => {} }
      : recordingOf(ledger, callLedger)),
    components: {
      ledger: ledgerCheck(ledger),
      ...(exporting && { 'checkpoint export': async () => exporting.status() }),
      ...(relay && { witnesses: witnesses.check }),
      policy: policyCheck,
      ...relayChecks,
    },
    overview: { policy, contracts, relay },
  };
}

/** Beside a corrupt ledger chats go on unrecorded; each call of a tool fails at its intent. */
function recordingOf(
  ledger: HostLedger,
  calls: HostCallLedger,
): Pick<OpenedTools, 'recorder' | 'assertWritable'> {
  const recorder = createRecorder(ledger);
  return {
    recorder: {
      recordTurn: async (turn) => {
        const callIds = calls.keptOf(turn.callIds);
        return ledger.isCorrupt ? '' : recorder.recordTurn({ ...turn, callIds });
      },
      checkpoint: async () => (ledger.isCorrupt ? '' : recorder.checkpoint()),
      recordWithheld: (...withheld) => {
        if (!ledger.isCorrupt) recorder.recordWithheld(...withheld);
      },
    },
    assertWritable: () => {
      if (!ledger.isCorrupt) ledger.assertWritable();
    },
  };
}

/** Calls that ended without a receipt, because the host died or its ledger failed, get theirs. */
async function closeEarlierCalls(calls: CloseOpenIntentsOptions, log: Logger): Promise<void> {
  if (calls.open.length === 0) return;
  const outcomes = await closeOpenIntents(calls);
  log.warn({ outcomes }, 'calls without a receipt were closed');
}

interface OpenedRelay {
  readonly relay: RelayClient | undefined;
  readonly checks: Readonly<Record<string, ComponentCheck>>;
}

async function openRelay(relay: HostConfig['relay'], deps: HostDeps): Promise<OpenedRelay> {
  if (relay === undefined) return { relay, checks: {} };
  const { lifecycle, log, registry } = deps;
  const tls = watchTls(relay.tls, { log });
  const keys = await watchKeySet({
    file: relay.deviceKeysFile,
    setting: 'relay.deviceKeysFile',
    log,
  });
  const registrarUrl = relay.revocations?.registrarUrl;
  const registrar =
    registrarUrl === undefined ? undefined : new RegistrarClient({ url: registrarUrl, tls });
  const revocations = await openRevocations(relay.revocations, { ...deps, registrar });
  const client = createRelayClient({
    urls: relay.urls,
    tls,
    deviceKeys: () => keys.keys(),
    revocations,
    log,
    metrics: relayMetrics(registry),
  });
  lifecycle.onDrain('devices', async () => {
    client.close();
    revocations?.close();
    registrar?.close();
    keys.close();
    tls.close();
  });
  const checks = {
    relay: relayCheck(client),
    'relay certificate': async () => tls.status(),
    'device keys': async () => keys.status(),
    ...(revocations && { revocations: async () => revocations.status() }),
  };
  return { relay: client, checks };
}

async function openRevocations(
  files: RevocationFiles | undefined,
  { log, registry, registrar }: HostDeps & { readonly registrar: RegistrarClient | undefined },
): Promise<Revocations | undefined> {
  if (files === undefined) return undefined;
  const onRefused = revocationRefusals(registry);
  const revocations = await watchRevocations({ ...files, registrar, log, onRefused });
  exposeRevocations(registry, () => revocations.figures());
  return revocations;
}

function relayCheck(devices: RelayClient): ComponentCheck {
  return async () => {
    // Any tenant will do: the check asks whether a relay answers.
    await devices.list('health', AbortSignal.timeout(1000));
    const { links, routes } = devices.status();
    return {
      status: 'ok',
      detail: `${counted(links.length, 'link')}, ${counted(routes, 'route')}`,
    };
  };
}

/** Resolves after the bundle was read once; onChange precedes the first decision under a new state. */
async function openPolicy(
  { policy: { bundleFile: file, keysDir, stateFile }, ledger }: HostConfig,
  deps: HostDeps & { readonly onChange: (now: BundleState) => void },
) {
  const { lifecycle, log, registry, onChange } = deps;
  const holder = new BundleHolder({
    floor: stateFile === '' ? memoryFloor() : openFloorFile(stateFile, floorMark(ledger.dir)),
  });
  let watch: DocumentWatch | undefined;
  holder.onChange(onChange);
  const refused = bundleRefusals(registry);
  if (file === '') {
    holder.note(Date.now());
  } else {
    watch = await watchDocument({
      holder,
      file,
      ...(keysDir === '' ? {} : { keysDir }),
      log,
      onRefused: ({ reason }) => refused(reason),
    });
    lifecycle.onDrain('policy', async () => watch?.close());
  }
  exposeBundle(registry, (nowMs) => holder.current(nowMs));
  const policyCheck: ComponentCheck = async () =>
    policyReport(holder.current(Date.now()), watch?.refusal());
  return { policy: holder, policyCheck };
}

/** A file that is refused may hold a revocation, whatever is in force. */
function policyReport(held: BundleState, refusal: ZlError | undefined) {
  const state =
    held.state === 'none' ? 'no bundle: tools are denied' : `${held.name} is ${held.state}`;
  const detail = refusal === undefined ? state : `${state}; ${refusal.message}. ${refusal.help}`;
  const isGood = held.state === 'active' && refusal === undefined;
  const bundle =
    held.state === 'none'
      ? {}
      : { version: held.name, expiresAt: new Date(held.expiresAtMs).toISOString() };
  return { status: isGood ? ('ok' as const) : ('degraded' as const), detail, ...bundle };
}

/** The ledger's folder remembers that the floor was there. */
function floorMark(ledgerDir: string): FloorMark {
  // A pod without a folder of its own cannot notice that the floor was removed.
  if (ledgerDir === '') return { isSet: () => false, set: () => {} };
  const file = join(ledgerDir, 'policy-floor.mark');
  return {
    isSet: () => existsSync(file),
    set: () => writeFileSync(file, '', { flag: 'a' }),
  };
}
