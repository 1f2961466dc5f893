import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kill, pid as ownPid } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

/** A killed process is gone after milliseconds; one that waits for a dead disk never. */
const KILL_TIMEOUT_MS = 2_000;
const POLL_MS = 5;

/** The cgroup v2 folder of this process where it may make others, else undefined. */
export async function ownCgroup(): Promise<string | undefined> {
  try {
    const mount = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .find((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2')?.[4];
    const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
    if (mount === undefined || path === undefined) return undefined;
    const trial = join(mount, path, `zl-trial-${ownPid}`);
    await mkdir(trial);
    // Kernels before 5.14 have no cgroup.kill.
    const canKill = existsSync(join(trial, 'cgroup.kill'));
    await rmdir(trial);
    return canKill ? join(mount, path) : undefined;
  } catch {
    // No cgroup v2, or one that belongs to others.
    return undefined;
  }
}

/** Kills all processes of a cgroup, whatever they did to leave their process group. */
export async function killCgroup(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  const until = performance.now() + KILL_TIMEOUT_MS;
  await writeFile(join(folder, 'cgroup.kill'), '1');
  while (/^populated 1$/m.test(await readFile(join(folder, 'cgroup.events'), 'utf8'))) {
    if (performance.now() > until) throw new Error(`${folder} still has processes`);
    await delay(POLL_MS);
  }
  await removeInner(folder);
}

export async function endCgroup(folder: string): Promise<void> {
  await killCgroup(folder);
  await rmdir(folder);
}

/** A process may have made others below its own. */
async function removeInner(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    await removeInner(join(folder, entry.name));
    await rmdir(join(folder, entry.name));
  }
}

/** Kills every process with such a variable in its environment, until none is left. */
export async function endMarked(beginning: string): Promise<void> {
  const until = performance.now() + KILL_TIMEOUT_MS;
  for (;;) {
    const pids = await markedPids(beginning);
    if (pids.length === 0) return;
    if (performance.now() > until) throw new Error(`${pids.length} processes are left`);
    for (const pid of pids) tryKill(pid);
    await delay(POLL_MS);
  }
}

/** Empty where there is no /proc. A process that replaced its environment is not found. */
async function markedPids(beginning: string): Promise<number[]> {
  const entries = await readdir('/proc').catch(() => []);
  const marked = await Promise.all(
    entries
      .filter((entry) => /^\d+$/.test(entry))
      .map(async (entry) => {
        // Those of other users cannot be read, and a zombie's is empty.
        const environment = await readFile(join('/proc', entry, 'environ'), 'utf8').catch(() => '');
        return `\0${environment}`.includes(`\0${beginning}`) ? Number(entry) : undefined;
      }),
  );
  return marked.filter((pid) => pid !== undefined);
}

function tryKill(pid: number): void {
  try {
    kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
