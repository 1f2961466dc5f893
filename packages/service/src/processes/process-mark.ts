import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { platform } from 'node:os';
import { kill } from 'node:process';

/** What is written down of a process, to know it again: numbers are given anew, births are not. */
export interface ProcessMark {
  readonly pid: number;
  /** When it began, in whatever form this system tells it; empty where it does not. */
  readonly birth: string;
}

/** Undefined when there is no such process. */
export function markOf(pid: number): ProcessMark | undefined {
  return exists(pid) ? { pid, birth: birthOf(pid) } : undefined;
}

/** Of what a file holds: a crash may have cut it, and 0 and negative numbers would mean whole groups. */
export function isProcessMark(value: unknown): value is ProcessMark {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value && 'birth' in value)) return false;
  return (
    Number.isSafeInteger(value.pid) && Number(value.pid) > 0 && typeof value.birth === 'string'
  );
}

/** Whether that very process runs. */
export function isRunning(mark: ProcessMark): boolean {
  // It has ended, and its parent has not asked how: in a container nobody may ever do.
  return statOf(mark.pid)[0] !== 'Z' && hasItsNumber(mark);
}

/** Also for one that has ended and was never asked how; what it started may go on. */
export function hasItsNumber({ pid, birth }: ProcessMark): boolean {
  return exists(pid) && birthOf(pid) === birth;
}

function exists(pid: number): boolean {
  try {
    return kill(pid, 0);
  } catch (reason) {
    // Somebody else's process is a process too.
    return reason instanceof Error && 'code' in reason && reason.code === 'EPERM';
  }
}

function birthOf(pid: number): string {
  try {
    if (platform() !== 'linux') return askPs(pid);
    const ticks = statOf(pid)[19];
    // Ticks are counted from the boot.
    return ticks === undefined ? '' : `${readFileSync(BOOT_ID, 'utf8').trim()}/${ticks}`;
  } catch {
    // It ended since, or this system has no way to ask.
    return '';
  }
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

function askPs(pid: number): string {
  // It tells the time of day in the words of whoever asks.
  const env = { PATH: '/bin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' };
  const args = ['-o', 'lstart=', '-p', String(pid)];
  return execFileSync('ps', args, { encoding: 'utf8', env }).trim();
}

/** The fields of proc_pid_stat(5) from the third on, which follow a name that may hold anything. */
function statOf(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    // No such process, or a system that tells it otherwise.
    return [];
  }
}
