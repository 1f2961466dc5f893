import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { platform } from 'node:os';
import { kill } from 'node:process';

/** Identifies a process: the system reuses pids, but not together with the same start time. */
export interface ProcessMark {
  readonly pid: number;
  /** Its start time in the form this system reports; empty where it reports none. */
  readonly birth: string;
}

/** Undefined when the process does not exist. */
export function markOf(pid: number): ProcessMark | undefined {
  return exists(pid) ? { pid, birth: birthOf(pid) } : undefined;
}

/** Checks what a file holds: a crash may have truncated it, and kill() reads 0 and negative ids as process groups. */
export function isProcessMark(value: unknown): value is ProcessMark {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value && 'birth' in value)) return false;
  return (
    Number.isSafeInteger(value.pid) && Number(value.pid) > 0 && typeof value.birth === 'string'
  );
}

/** Whether the same process still runs. */
export function isRunning(mark: ProcessMark): boolean {
  // A zombie; without an init process it may never be reaped.
  return statOf(mark.pid)[0] !== 'Z' && hasItsNumber(mark);
}

/** True for a zombie as well, whose children may still run. */
export function hasItsNumber({ pid, birth }: ProcessMark): boolean {
  return exists(pid) && birthOf(pid) === birth;
}

function exists(pid: number): boolean {
  try {
    return kill(pid, 0);
  } catch (reason) {
    // It exists but belongs to another user.
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
    // It ended in the meantime, or this system cannot report it.
    return '';
  }
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

function askPs(pid: number): string {
  // ps formats the time in the caller's language and time zone.
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
    // No such process, or a system without /proc.
    return [];
  }
}
