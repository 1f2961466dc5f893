import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';
import { acquireLock, type Lock } from '@zerolatency/service/processes';
import type { Layout } from './layout.ts';

/** A first start takes a few seconds; whoever holds the installation for longer hangs. */
const PATIENCE_MS = 60_000;

/** One command at a time makes, starts or stops an installation; the others wait for it. */
export async function exclusively<T>(layout: Layout, work: () => Promise<T>): Promise<T> {
  await makeFolder(layout.home);
  const lock = await waitForLock(join(layout.home, 'lock'));
  try {
    return await work();
  } finally {
    lock.release();
  }
}

async function waitForLock(path: string): Promise<Lock> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return acquireLock(path, heldBy);
    } catch (reason) {
      const isBusy = reason instanceof ZlError && reason.id === 'installation.busy';
      if (!isBusy || performance.now() > untilMs) throw reason;
      await delay(50);
    }
  }
}

function heldBy(pid: number | undefined): ZlError {
  const who = pid === undefined ? 'another command' : `process ${pid}`;
  return new ZlError('installation.busy', `${who} starts or stops this installation`);
}
