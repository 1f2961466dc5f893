import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { foreignLine } from '@zerolatency/redaction';
import { parseDocument } from 'yaml';
import { checkFolder, createInstallation } from '../installation/create.ts';
import { enrolDevice, needsEnrolment } from '../installation/enrol-device.ts';
import { exclusively } from '../installation/exclusive.ts';
import type { Layout } from '../installation/layout.ts';
import {
  type FoundProvider,
  findProviders,
  hostSettingsOf,
} from '../installation/model-provider.ts';
import { makePool } from '../installation/pool.ts';
import {
  type Component,
  componentsOf,
  outdatedServices,
  podsOf,
  runningPid,
  type StartedService,
  startService,
  stopService,
} from '../installation/processes.ts';
import { renewExpiring } from '../installation/renew.ts';
import { startFailure } from '../installation/start-failure.ts';
import { readSettings, type Settings } from '../settings.ts';
import { probeAdmin } from '../status/probe.ts';
import { readinessOf } from '../status/readiness.ts';
import { EXIT_STATUS, paintFor, print, type Terminal } from '../terminal.ts';
import { firstChat } from './first-chat.ts';
import { probeAll } from './status.ts';

/** A small machine may take long to load everything. */
const START_TIMEOUT_MS = 60_000;

/** Long enough for running turns to finish. */
const STOP_TIMEOUT_MS = 15_000;

const POLL_MS = 50;

const REAL_MODEL =
  'For a real one set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OLLAMA_HOST and start again.';

export async function up(
  terminal: Terminal,
  layout: Layout,
  options: { readonly relays?: number } = {},
): Promise<number> {
  checkFolder(layout);
  const { settings, started, found, warnings } = await exclusively(layout, () =>
    bringUp(terminal, layout, options.relays),
  );
  const paint = paintFor(terminal);
  print(
    terminal,
    started.length === 0
      ? 'Already running.'
      : `Started ${started.join(', ')}. Logs: ${layout.logs}`,
  );
  if (started.includes('model-host')) print(terminal, modelsLine(found));
  for (const warning of warnings) terminal.stderr.write(`warning: ${foreignLine(warning)}\n`);
  const status = await firstChat(terminal, layout, settings);
  if (status !== EXIT_STATUS.ok) return status;
  print(terminal, '');
  print(
    terminal,
    `Continue with ${paint('bold', './zl chat')}, inspect with ${paint('bold', './zl status')}, stop with ${paint('bold', 'make down')}.`,
  );
  return EXIT_STATUS.ok;
}

export async function down(terminal: Terminal, layout: Layout): Promise<number> {
  const work = () => stopAll(terminal, layout);
  // The lock would create the folder of an installation that does not exist.
  await (existsSync(layout.home) ? exclusively(layout, work) : work());
  return EXIT_STATUS.ok;
}

async function stopAll(terminal: Terminal, layout: Layout): Promise<void> {
  // The host first: its turns finish while relay and bridge still serve them.
  const pods = podsOf(layout);
  const redis = pods.length === 0 ? [] : (['redis'] as const);
  const first = ['model-host', 'device-bridge', 'tool-relay'] as const;
  for (const service of [...first, ...pods, 'registrar', ...redis] as const) {
    const outcome = await stopService(terminal, layout, { service, deadlineMs: STOP_TIMEOUT_MS });
    print(terminal, `${service.padEnd(15)}${outcome}`);
  }
}

function modelsLine(found: readonly FoundProvider[]): string {
  const [first, ...others] = found;
  if (first === undefined) return `Model: the built-in mock. ${REAL_MODEL}`;
  const { name, model, variable } = first;
  const more = ['mock', ...others.map((other) => other.name)].join(', ');
  return `Model: ${foreignLine(model)} of ${name}, because ${variable} is set. ./zl chat --model chooses another: ${more}.`;
}

async function bringUp(terminal: Terminal, layout: Layout, relays: number | undefined) {
  await createInstallation(layout);
  if (relays !== undefined) await makePool(layout, relays);
  await renewExpiring(layout);
  const settings = await readSettings(layout.settings);
  const outdated = (await outdatedServices(layout)).map(
    (service) => `${service} runs with earlier settings; "zl down" and "zl up" restart it`,
  );
  const found = await providersFor(terminal, layout);
  const servers = componentsOf(layout).filter((component) => component !== 'device-bridge');
  const started = await startMissing(terminal, layout, servers, hostSettingsOf(found));
  const settled = new AbortController();
  const unlessOneEnds = <T>(work: Promise<T>) =>
    Promise.race([work, ...started.map((each) => exitOf(each, layout, settled.signal))]);
  try {
    if (await needsEnrolment(layout)) {
      await unlessOneEnds(untilRegistrar(settings, settled.signal));
      await enrolDevice(terminal, layout, settings);
    }
    started.push(...(await startMissing(terminal, layout, ['device-bridge'])));
    const warnings = await unlessOneEnds(untilReady(settings, settled.signal));
    const names = started.map(({ service }) => service);
    return { settings, started: names, found, warnings: [...outdated, ...warnings] };
  } finally {
    settled.abort();
  }
}

/** None for a host that runs, or whose own configuration names providers. */
async function providersFor(terminal: Terminal, layout: Layout): Promise<readonly FoundProvider[]> {
  if ((await runningPid(layout, 'model-host')) !== undefined) return [];
  const own = parseDocument(await readFile(layout.host.config, 'utf8'));
  // The host itself reports broken YAML, with the place.
  const hasModels = own.errors.length > 0 || own.has('models') || own.has('providers');
  return hasModels ? [] : findProviders(terminal.env);
}

async function startMissing(
  terminal: Terminal,
  layout: Layout,
  services: readonly Component[],
  hostSettings: Readonly<Record<string, string>> = {},
): Promise<StartedService[]> {
  const started: StartedService[] = [];
  for (const service of services) {
    if ((await runningPid(layout, service)) !== undefined) continue;
    const left = await stopService(terminal, layout, { service, deadlineMs: STOP_TIMEOUT_MS });
    if (left !== 'not running') {
      print(terminal, `Ended a ${service} that ran without its supervisor (${left}).`);
    }
    const isSupervised = service === 'device-bridge';
    const settings = service === 'model-host' ? hostSettings : {};
    started.push(await startService(terminal, layout, { service, isSupervised, settings }));
  }
  return started;
}

/** Rejects with what the service said, as soon as it has exited. */
async function exitOf(
  { service, said }: StartedService,
  layout: Layout,
  settled: AbortSignal,
): Promise<never> {
  while ((await runningPid(layout, service)) !== undefined) {
    await delay(POLL_MS, undefined, { signal: settled });
  }
  throw startFailure(service, await said());
}

/** Resolves when the registrar answers. */
async function untilRegistrar({ registrar }: Settings, settled: AbortSignal): Promise<void> {
  const untilMs = performance.now() + START_TIMEOUT_MS;
  const address = registrar?.adminUrl ?? '';
  for (;;) {
    const { health, error } = await probeAdmin({ name: 'registrar', address });
    if (health === 'ok') return;
    if (performance.now() > untilMs) {
      const message = `the registrar is not ready after ${START_TIMEOUT_MS / 1000} s: ${error ?? health}`;
      throw new ZlError('installation.failed', message);
    }
    await delay(POLL_MS, undefined, { signal: settled });
  }
}

/** Resolves with what works less well than it should. */
async function untilReady(settings: Settings, settled: AbortSignal): Promise<readonly string[]> {
  const untilMs = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const readiness = readinessOf(await probeAll(settings));
    if (readiness.state === 'ready') return readiness.warnings;
    if (readiness.state === 'failed') throw readiness.error;
    if (performance.now() > untilMs) {
      const missing = readiness.missing.join(', ');
      const message = `not ready after ${START_TIMEOUT_MS / 1000} s: ${missing}`;
      throw new ZlError('installation.failed', message);
    }
    await delay(POLL_MS, undefined, { signal: settled });
  }
}
