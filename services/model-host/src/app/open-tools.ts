import type { Tracer } from '@opentelemetry/api';
import { loadToolContracts } from '@zerolatency/contracts';
import { watchKeySet } from '@zerolatency/identity';
import type { ComponentCheck, Lifecycle } from '@zerolatency/service/lifecycle';
import type { Logger, Registry } from '@zerolatency/service/telemetry';
import { watchTls } from '@zerolatency/service/tls';
import { createCallLedger, openCalls } from '../adapters/ledger/call-ledger.ts';
import { recordPolicy } from '../adapters/ledger/policy-recorder.ts';
import { createRecorder } from '../adapters/ledger/recorder.ts';
import { createRelayClient, type RelayClient } from '../adapters/relay/relay-client.ts';
import { type CloseOpenIntentsOptions, closeOpenIntents } from '../calls/close-open-intents.ts';
import { createToolboxes } from '../calls/toolbox.ts';
import type { HostConfig } from '../config.ts';
import { deviceExecutor } from '../executors/device/device-executor.ts';
import { NO_DEVICES } from '../executors/device/routes.ts';
import { relayMetrics, toolMetrics } from '../metrics.ts';
import type { Recorder, Toolboxes } from '../ports.ts';
import { defaultContractsDir, openSigner } from './open-files.ts';
import { ledgerCheck, openHostLedger } from './open-host-ledger.ts';
import { openPolicy, policyCheck } from './open-policy.ts';

export interface OpenDeps {
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  readonly registry: Registry;
  readonly tracer: Tracer;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of this program, for the record of its start. */
  readonly version: string;
}

/** What a turn needs beyond a model, and how it fares. */
export interface OpenedTools {
  readonly toolboxes: Toolboxes;
  readonly recorder: Recorder;
  readonly components: Readonly<Record<string, ComponentCheck>>;
}

/** Opens ledger, policy and the way to devices; each closes when the service drains. */
export async function openTools(config: HostConfig, deps: OpenDeps): Promise<OpenedTools> {
  const signer = await openSigner(config.ledger.key, deps.env);
  const { log, registry, tracer } = deps;
  const ledger = await openHostLedger(config, { ...deps, signer });
  const onChange = recordPolicy(ledger, log);
  const policy = await openPolicy(config.policy, { ...deps, onChange });
  const devices = await openDevices(config.relay, deps);
  const callLedger = createCallLedger(ledger);
  const metrics = toolMetrics(registry);
  const { timeoutMs, maxResultBytes: maxBytes, callsPerTurn, contractsDir } = config.tools;
  const executors = [
    deviceExecutor({
      devices: devices ?? NO_DEVICES,
      contracts: loadToolContracts(contractsDir || defaultContractsDir),
      onResumed: metrics.resumed,
    }),
  ];
  await closeEarlierCalls({ open: openCalls(ledger), executors, ledger: callLedger, signer }, log);
  const toolboxes = createToolboxes({
    executors,
    policy,
    ledger: callLedger,
    signer,
    limits: { timeoutMs, maxBytes, callsPerTurn },
    metrics,
    tracer,
  });
  return {
    toolboxes,
    recorder: createRecorder({ ledger }),
    components: {
      ledger: ledgerCheck(ledger),
      policy: policyCheck(policy),
      ...relayCheck(devices),
    },
  };
}

/** What a host that died left open gets its receipt before anything new begins. */
async function closeEarlierCalls(calls: CloseOpenIntentsOptions, log: Logger): Promise<void> {
  if (calls.open.length === 0) return;
  const outcomes = await closeOpenIntents(calls);
  log.warn({ outcomes }, 'calls of an earlier run were closed');
}

async function openDevices(
  relay: HostConfig['relay'],
  deps: OpenDeps,
): Promise<RelayClient | undefined> {
  if (relay === undefined) return undefined;
  const { lifecycle, log, registry } = deps;
  const tls = watchTls(relay.tls, { log });
  const keys = await watchKeySet({
    file: relay.deviceKeysFile,
    setting: 'relay.deviceKeysFile',
    log,
  });
  const devices = createRelayClient({
    urls: relay.urls,
    tls,
    deviceKeys: () => keys.keys(),
    log,
    metrics: relayMetrics(registry),
  });
  lifecycle.onDrain('devices', async () => {
    devices.close();
    keys.close();
    tls.close();
  });
  return devices;
}

function relayCheck(devices: RelayClient | undefined): Record<string, ComponentCheck> {
  if (devices === undefined) return {};
  return {
    relay: async () => {
      // Any tenant will do: the question is whether a relay answers.
      await devices.list('health', { pageSize: 1, signal: AbortSignal.timeout(1000) });
      const { links, routes } = devices.status();
      return { status: 'ok', detail: `${links.length} links, ${routes} routes` };
    },
  };
}
