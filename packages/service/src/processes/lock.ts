import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { pid } from 'node:process';
import { isProcessMark, isRunning, markOf, type ProcessMark } from './process-mark.ts';

/** Kept in a file, because Node has no lock that the kernel would release. */
export interface Lock {
  /** False once another process has taken over what it saw as left behind. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

interface Owner extends ProcessMark {
  readonly token: string;
}

/** What to throw when another process holds the lock; not every one of them can be named. */
type Refusal = (holderPid: number | undefined) => Error;

const NOBODY = 'nobody';

/** Each of them crashed in the instant of taking over from the one before. */
const MAX_DEAD_CLAIMANTS = 8;

/** @throws what `refusal` makes of the process that holds it; one that is gone loses it to us. */
export async function acquireLock(path: string, refusal: Refusal): Promise<Lock> {
  const owner: Owner = { pid, birth: markOf(pid)?.birth ?? '', token: randomUUID() };
  const own = `${path}.${owner.token}`;
  await writeFile(own, JSON.stringify(owner), { mode: 0o600 });
  try {
    if (!(await linked(own, path))) await takeOver({ own, path, refusal });
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

interface Claim {
  /** The file that names us. */
  readonly own: string;
  readonly path: string;
  readonly refusal: Refusal;
}

/**
 * The right to replace what a dead owner left is itself a file, named after
 * that owner. Whoever died holding such a right is an owner of the same kind.
 * A right is dropped only after the lock has changed hands, so one who comes
 * late with it finds another owner in the lock.
 */
async function takeOver(claim: Claim): Promise<void> {
  const { own, path, refusal } = claim;
  const left = await deadOwner(path, refusal);
  const rights = await claimRight(claim, left);
  try {
    if ((await deadOwner(path, refusal)) !== left) throw refusal(undefined);
    await rename(own, path);
  } catch (reason) {
    // Those before it belong to others, who are dead.
    await rm(rights.at(-1) ?? own, { force: true });
    throw reason;
  }
  for (const right of rights) await rm(right, { force: true });
}

async function claimRight({ own, path, refusal }: Claim, left: string): Promise<string[]> {
  const rights: string[] = [];
  let token = left;
  while (rights.length < MAX_DEAD_CLAIMANTS) {
    const right = `${path}.after.${token}`;
    rights.push(right);
    if (await linked(own, right)) return rights;
    token = await deadOwner(right, refusal);
    // Torn by a crash of the machine, it names nobody whose right could be claimed.
    if (token === NOBODY) await rm(right, { force: true });
  }
  throw refusal(undefined);
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

/** The token of an owner that is gone; one that is not has the lock. */
async function deadOwner(path: string, refusal: Refusal): Promise<string> {
  const text = await readText(path);
  // Released, or taken over, since we were refused.
  if (text === undefined) throw refusal(undefined);
  const owner = parseOwner(text);
  if (owner !== undefined && isRunning(owner)) throw refusal(owner.pid);
  return owner?.token ?? NOBODY;
}

function parseOwner(text: string): Owner | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isProcessMark(value) || !('token' in value) || typeof value.token !== 'string') {
      return undefined;
    }
    return /^[\w-]{1,64}$/.test(value.token) ? { ...value, token: value.token } : undefined;
  } catch {
    // Torn by a crash of the machine, so whoever wrote it is gone.
    return undefined;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (reason) {
    if (codeOf(reason) === 'ENOENT') return undefined;
    throw reason;
  }
}

function codeOf(reason: unknown): unknown {
  return reason instanceof Error && 'code' in reason ? reason.code : undefined;
}
