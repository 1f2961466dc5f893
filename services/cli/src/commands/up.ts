import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { createInstallation } from '../installation/create.ts';
import type { Layout } from '../installation/layout.ts';
import {
  lastLogLine,
  runningPid,
  services,
  startService,
  stopService,
} from '../installation/processes.ts';
import { renewExpiring } from '../installation/renew.ts';
import { paintFor } from '../paint.ts';
import { readSettings, type Settings } from '../settings.ts';
import { exitStatus, print, type Terminal } from '../terminal.ts';
import { firstChat } from './first-chat.ts';
import { probeAll } from './status.ts';

/** A first start compiles nothing, but a small machine may be slow to load it all. */
const startTimeoutMs = 60_000;

/** Long enough for running turns to finish. */
const stopTimeoutMs = 15_000;

export async function up(terminal: Terminal, layout: Layout): Promise<number> {
  await createInstallation(layout, { nodePath: terminal.nodePath });
  await renewExpiring(layout, { nodePath: terminal.nodePath });
  const settings = await readSettings(layout.settings);
  const started = await startMissing(terminal, layout);
  await untilHealthy(terminal, { layout, settings });
  const paint = paintFor(terminal);
  print(
    terminal,
    started.length === 0
      ? 'Running already.'
      : `Started ${started.join(', ')}; logs in ${layout.logs}.`,
  );
  const status = await firstChat(terminal, layout, settings);
  if (status !== exitStatus.ok) return status;
  print(terminal, '');
  print(
    terminal,
    `Go on with ${paint('bold', 'npx zl chat')}, look with ${paint('bold', 'npx zl status')}, stop with ${paint('bold', 'make down')}.`,
  );
  return exitStatus.ok;
}

export async function down(terminal: Terminal, layout: Layout): Promise<number> {
  // The host first: it lets its turns finish while relay and bridge still serve them.
  for (const service of ['model-host', 'device-bridge', 'tool-relay'] as const) {
    const outcome = await stopService(terminal, layout, { service, deadlineMs: stopTimeoutMs });
    print(terminal, `${service.padEnd(15)}${outcome}`);
  }
  return exitStatus.ok;
}

async function startMissing(terminal: Terminal, layout: Layout): Promise<string[]> {
  const started: string[] = [];
  for (const service of services) {
    if ((await runningPid(terminal, layout, service)) !== undefined) continue;
    await startService(terminal, layout, { service });
    started.push(service);
  }
  return started;
}

async function untilHealthy(
  terminal: Terminal,
  { layout, settings }: { readonly layout: Layout; readonly settings: Settings },
): Promise<void> {
  const until = Date.now() + startTimeoutMs;
  for (;;) {
    const unhealthy = (await probeAll(settings)).filter(({ health }) => health !== 'ok');
    if (unhealthy.length === 0) return;
    for (const service of services) {
      if ((await runningPid(terminal, layout, service)) === undefined) {
        const said = await lastLogLine(layout, service);
        throw new ZlError(
          'internal',
          `${service} stopped while starting; its last words in ${layout.log(service)}: ${said}`,
        );
      }
    }
    if (Date.now() > until) {
      const names = unhealthy.map(({ name, error }) => `${name} (${error ?? 'not ready'})`);
      throw new ZlError(
        'internal',
        `not healthy in time: ${names.join(', ')}; see the logs in ${layout.home}`,
      );
    }
    await delay(50);
  }
}
