import assert from 'node:assert/strict';
import { platform } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, tempDir } from '@zerolatency/testing';
import { layoutOf } from '../../services/cli/src/installation/layout.ts';
import { SERVICES, type Service } from '../../services/cli/src/installation/processes.ts';
import { commandLine, processesOf } from './installed-processes.ts';
import { spawnService } from './own-processes.ts';
import { installPrograms } from './system.ts';

const options = { timeout: 300_000, skip: platform() === 'linux' ? false : 'reads /proc' };

/** A fraction of the start time, most of which loads modules, or a number of printed lines. */
const MOMENTS = [0.97, '1 line', '2 lines', '3 lines'] as const;
type Moment = (typeof MOMENTS)[number];

test(
  '[HOST-10] [BRG-01] [RLY-01] SIGTERM at any moment of a start ends it with status 0',
  options,
  async (t) => {
    const layout = layoutOf(join(tempDir(t), '.zl'));
    await installPrograms(layout);
    const startsMs = await startAndStop();
    for (const moment of MOMENTS) {
      await Promise.all(SERVICES.map((service) => interrupt(service, moment)));
      assert.deepEqual(processesOf(layout.home).map(commandLine), [], `at ${moment}`);
    }
    // None has left anything that prevents the next start.
    await startAndStop();

    async function startAndStop(): Promise<Record<string, number>> {
      const startedMs = performance.now();
      const own = SERVICES.map((service) => spawnService(t, layout, service));
      const tookMs = await Promise.all(
        own.map(async ({ ready }) => {
          await ready;
          return performance.now() - startedMs;
        }),
      );
      for (const { child } of own) child.kill('SIGTERM');
      const ended = await Promise.all(own.map(({ ended }) => ended));
      assert.deepEqual(new Set(ended), new Set([0]), own.map(({ said }) => said()).join(''));
      return Object.fromEntries(SERVICES.map((service, index) => [service, tookMs[index] ?? 0]));
    }

    async function interrupt(service: Service, moment: Moment): Promise<void> {
      const { child, ended, said } = spawnService(t, layout, service);
      const startMs = startsMs[service] ?? 0;
      if (typeof moment === 'number') await delay(moment * startMs);
      else await printed(said, { lines: Number.parseInt(moment, 10), withinMs: 2 * startMs });
      child.kill('SIGTERM');
      const end = await ended;
      // Before its first line no handler may be installed yet.
      const isFine = end === 0 || (end === 'SIGTERM' && said() === '');
      assert.ok(isFine, `${service} at ${moment}: ${end}, ${said()}`);
    }
  },
);

/** Waits a limited time: not every service prints a third line without the others. */
async function printed(
  said: () => string,
  { lines, withinMs }: { readonly lines: number; readonly withinMs: number },
): Promise<void> {
  const isPrinted = () => said().split('\n').length > lines;
  await eventually(isPrinted, { timeoutMs: withinMs, everyMs: 1 }).catch(() => {});
}
