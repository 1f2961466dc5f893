import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { checkFolder, createInstallation } from '../installation/create.ts';
import { exclusively } from '../installation/exclusive.ts';
import type { Layout } from '../installation/layout.ts';
import {
  lastLogLine,
  runningPid,
  SERVICES,
  startService,
  stopService,
} from '../installation/processes.ts';
import { renewExpiring } from '../installation/renew.ts';
import { readSettings, type Settings } from '../settings.ts';
import type { Probe } from '../status/probe.ts';
import { EXIT_STATUS, paintFor, print, type Terminal } from '../terminal.ts';
import { firstChat } from './first-chat.ts';
import { probeAll } from './status.ts';

/** A small machine may take long to load everything. */
const START_TIMEOUT_MS = 60_000;

/** Long enough for running turns to finish. */
const STOP_TIMEOUT_MS = 15_000;

export async function up(terminal: Terminal, layout: Layout): Promise<number> {
  checkFolder(layout);
  const { settings, started } = await exclusively(layout, () => bringUp(terminal, layout));
  const paint = paintFor(terminal);
  print(
    terminal,
    started.length === 0
      ? 'Already running.'
      : `Started ${started.join(', ')}. Logs: ${layout.logs}`,
  );
  const status = await firstChat(terminal, layout, settings);
  if (status !== EXIT_STATUS.ok) return status;
  print(terminal, '');
  print(
    terminal,
    `Continue with ${paint('bold', 'npx zl chat')}, inspect with ${paint('bold', 'npx zl status')}, stop with ${paint('bold', 'make down')}.`,
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
  for (const service of ['model-host', 'device-bridge', 'tool-relay'] as const) {
    const outcome = await stopService(terminal, layout, { service, deadlineMs: STOP_TIMEOUT_MS });
    print(terminal, `${service.padEnd(15)}${outcome}`);
  }
}

async function bringUp(terminal: Terminal, layout: Layout) {
  await createInstallation(layout);
  await renewExpiring(layout);
  const settings = await readSettings(layout.settings);
  const started = await startMissing(terminal, layout);
  await untilHealthy({ layout, settings });
  return { settings, started };
}

async function startMissing(terminal: Terminal, layout: Layout): Promise<string[]> {
  const started: string[] = [];
  for (const service of SERVICES) {
    if ((await runningPid(layout, service)) !== undefined) continue;
    const left = await stopService(terminal, layout, { service, deadlineMs: STOP_TIMEOUT_MS });
    if (left !== 'not running') {
      print(terminal, `Ended a ${service} that ran without its supervisor (${left}).`);
    }
    await startService(terminal, layout, { service, isSupervised: service === 'device-bridge' });
    started.push(service);
  }
  return started;
}

interface Expected {
  readonly layout: Layout;
  readonly settings: Settings;
}

async function untilHealthy({ layout, settings }: Expected): Promise<void> {
  const until = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const probes = await probeAll(settings);
    const missing = probes.flatMap((probe) => missingFrom(probe) ?? []);
    if (missing.length === 0) return;
    for (const service of SERVICES) {
      if ((await runningPid(layout, service)) === undefined) {
        const said = await lastLogLine(layout, service);
        throw new ZlError(
          'internal',
          `${service} exited during its start; last line of ${layout.log(service)}: ${said}`,
        );
      }
    }
    if (Date.now() > until) {
      throw new ZlError(
        'internal',
        `not healthy after ${START_TIMEOUT_MS / 1000} s: ${missing.join(', ')}; see ${layout.logs}`,
      );
    }
    await delay(50);
  }
}

/** Why the first call cannot run yet; undefined when it can. */
function missingFrom({ name, health, error }: Probe): string | undefined {
  return health === 'ok' ? undefined : `${name} (${error ?? 'not ready'})`;
}
