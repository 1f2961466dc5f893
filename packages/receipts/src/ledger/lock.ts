import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { kill, pid } from 'node:process';
import { ZlError } from '@zerolatency/errors';

/** One writer a ledger. Kept in a file, because Node has no lock that the kernel would release. */
export interface LedgerLock {
  /** False once another process has taken over what it saw as left behind. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  /** Tells a process from a later one with the same number; in a container that is the rule. */
  readonly started: string;
  readonly token: string;
}

const NOBODY = 'nobody';

/** Each of them crashed in the instant of taking over from the one before. */
const MAX_DEAD_CLAIMANTS = 8;

export async function acquireLock(path: string): Promise<LedgerLock> {
  const owner: Owner = { pid, started: (await startOf('self')) ?? '', token: randomUUID() };
  const own = `${path}.${owner.token}`;
  await writeFile(own, JSON.stringify(owner), { mode: 0o600 });
  try {
    if (!(await linked(own, path))) await takeOver(own, path);
  } finally {
    await rm(own, { force: true });
  }
  const isHeld = async () => (await readText(path)) === JSON.stringify(owner);
  return {
    isHeld,
    async release() {
      if (await isHeld()) await rm(path, { force: true });
    },
  };
}

/**
 * The right to replace what a dead owner left is itself a file, named after
 * that owner. Whoever died holding such a right is an owner of the same kind.
 * A right is dropped only after the lock has changed hands, so one who comes
 * late with it finds another owner in the lock.
 */
async function takeOver(own: string, path: string): Promise<void> {
  const left = await deadOwner(path);
  const rights = await claimRight(own, path, left);
  try {
    if ((await deadOwner(path)) !== left) throw busy();
    await rename(own, path);
  } catch (reason) {
    // Those before it belong to others, who are dead.
    await rm(rights.at(-1) ?? own, { force: true });
    throw reason;
  }
  for (const right of rights) await rm(right, { force: true });
}

async function claimRight(own: string, path: string, left: string): Promise<string[]> {
  const rights: string[] = [];
  let token = left;
  while (rights.length < MAX_DEAD_CLAIMANTS) {
    const right = `${path}.after.${token}`;
    rights.push(right);
    if (await linked(own, right)) return rights;
    token = await deadOwner(right);
    // Torn by a crash of the machine, it names nobody whose right could be claimed.
    if (token === NOBODY) await rm(right, { force: true });
  }
  throw busy();
}

/** Unlike an exclusive create, it never shows an empty file. */
async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (reason) {
    if (codeOf(reason) === 'EEXIST') return false;
    throw reason;
  }
}

/** The token of an owner that is gone; one that is not has the ledger. */
async function deadOwner(path: string): Promise<string> {
  const text = await readText(path);
  // Released, or taken over, since we were refused.
  if (text === undefined) throw busy();
  const owner = parseOwner(text);
  if (owner !== undefined && (await isAlive(owner))) throw busy(owner.pid);
  return owner?.token ?? NOBODY;
}

async function isAlive(owner: Owner): Promise<boolean> {
  // It has ended, and its parent has not asked how: in a container nobody may ever do.
  if ((await statOf(owner.pid))?.[0] === 'Z') return false;
  const started = await startOf(owner.pid);
  if (started !== undefined && owner.started !== '') return started === owner.started;
  try {
    return kill(owner.pid, 0);
  } catch (reason) {
    // Somebody else's process is a process too.
    return codeOf(reason) === 'EPERM';
  }
}

/** Linux only: boot and clock tick at which a process began. */
async function startOf(process: number | 'self'): Promise<string | undefined> {
  const boot = await readText('/proc/sys/kernel/random/boot_id');
  const ticks = (await statOf(process))?.[19];
  return boot === undefined || ticks === undefined ? undefined : `${boot.trim()}/${ticks}`;
}

/** Linux only: what follows the name, which is in parentheses and may hold anything. */
async function statOf(process: number | 'self'): Promise<string[] | undefined> {
  const stat = await readText(`/proc/${process}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function parseOwner(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text);
    const isOwner = Number.isSafeInteger(owner?.pid) && /^[\w-]{1,64}$/.test(owner.token);
    return isOwner ? owner : undefined;
  } catch {
    // Torn by a crash of the machine, so whoever wrote it is gone.
    return undefined;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (reason) {
    if (codeOf(reason) === 'ENOENT' || codeOf(reason) === 'ESRCH') return undefined;
    throw reason;
  }
}

function codeOf(reason: unknown): unknown {
  return reason instanceof Error && 'code' in reason ? reason.code : undefined;
}

function busy(owner?: number): ZlError {
  const who = owner === undefined ? 'another process' : `process ${owner}`;
  return new ZlError('ledger.failed', `${who} holds the ledger`);
}
