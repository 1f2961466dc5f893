// What a run of tests starts and writes, so that it leaves nothing behind however it ends.
// As a program it is the reaper of a run, and waits until that run has ended.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** For a process to end by itself, or after a SIGTERM. */
const GRACE_MS = 5_000;
const POLL_MS = 20;
const MAX_KILLS = 5;

/** Linux has not used this limit since 2.4, so no process notices its value. */
const UNUSED_LIMIT = /^Max file locks +(\d+)/m;
const MIN_MARK = 2 ** 40;
const MAX_MARK = 2 ** 47;

const MOUNTS = '/proc/self/mountinfo';

export class TestRun {
  /** The temporary folder of everything the run starts. */
  readonly folder: string;
  readonly #mark: number | undefined;
  /** Held, because a collected pipe is a closed one, and the reaper would act. */
  readonly #reaper: ChildProcess;

  /** From now on the children of this process, and theirs, belong to the run. */
  static start(): TestRun {
    const folder = mkdtempSync(join(tmpdir(), 'zl-'));
    const mark = randomInt(MIN_MARK, MAX_MARK);
    // Before this process is marked: the reaper itself does not belong to the run.
    const reaper = spawn(process.execPath, [import.meta.filename, String(mark), folder], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    reaper.unref();
    return new TestRun(folder, markOwn(mark) ? mark : undefined, reaper);
  }

  private constructor(folder: string, mark: number | undefined, reaper: ChildProcess) {
    this.folder = folder;
    this.#mark = mark;
    this.#reaper = reaper;
  }

  /** Ends and removes what is left, and returns its names. */
  async end(): Promise<readonly string[]> {
    const mark = this.#mark;
    const left = mark === undefined ? [] : (await remaining(mark, GRACE_MS)).map(describe);
    if (mark !== undefined) await endProcesses(mark);
    left.push(...readdirSync(this.folder).map((name) => `temporary folder: ${name}`));
    removeFolder(this.folder);
    this.#reaper.kill('SIGKILL');
    if (mark === undefined) {
      console.error('processes left behind are not found without Linux and prlimit');
    }
    return left;
  }
}

/** A child inherits its limits, even one that gets no environment and starts a session. */
function markOwn(mark: number): boolean {
  const { status } = spawnSync('prlimit', ['--pid', String(process.pid), `--locks=${mark}:`]);
  return status === 0;
}

function processesWith(mark: number): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      const [, limit] = UNUSED_LIMIT.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
      return Number(limit) === mark && !isZombie(pid) ? pid : [];
    } catch {
      // It has ended since.
      return [];
    }
  });
}

/** Without an init process it may never be reaped. */
function isZombie(pid: number): boolean {
  return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

async function remaining(mark: number, withinMs: number): Promise<number[]> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = processesWith(mark);
    if (found.length === 0 || performance.now() >= deadline) return found;
    await sleep(POLL_MS);
  }
}

async function endProcesses(mark: number): Promise<void> {
  for (const pid of processesWith(mark)) signal(pid, 'SIGTERM');
  // More than once: one that is killed may have started another meanwhile.
  for (let round = 0; round < MAX_KILLS; round++) {
    const left = await remaining(mark, GRACE_MS);
    if (left.length === 0) return;
    for (const pid of left) signal(pid, 'SIGKILL');
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended since.
  }
}

function describe(pid: number): string {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return `process ${pid}: ${command}`;
  } catch {
    return `process ${pid}`;
  }
}

function removeFolder(folder: string): void {
  // A killed test leaves its small disk mounted.
  for (const mount of mountsBelow(folder)) spawnSync('umount', ['--lazy', mount]);
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** The latest first, since it may lie in another. */
function mountsBelow(folder: string): string[] {
  if (!existsSync(MOUNTS)) return [];
  const points = readFileSync(MOUNTS, 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '');
  return points.filter((point) => point.startsWith(`${folder}/`)).reverse();
}

if (import.meta.main) {
  const [mark = '', folder = ''] = process.argv.slice(2);
  // The pipe to the run breaks when it has ended, be it by SIGKILL.
  for await (const _ of process.stdin);
  await endProcesses(Number(mark));
  removeFolder(folder);
}
