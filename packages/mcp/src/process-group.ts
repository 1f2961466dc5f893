import { type ChildProcess, spawn } from 'node:child_process';
// The one signal Node cannot send through a ChildProcess is the one to its group.
import { kill } from 'node:process';

export interface GroupCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** Sends SIGTERM, where the command wraps the program and would not pass it on. */
  readonly terminate?: ((leaderPid: number) => void) | undefined;
}

/**
 * Starts a process as the leader of a group of its own, so that its children end with it.
 * Its streams are missing when file descriptors ran out; its error says so.
 */
export function spawnGroup(options: GroupCommand): ChildProcess {
  return spawn(options.command, [...options.args], {
    env: { ...options.env },
    cwd: options.cwd,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    shell: false,
    windowsHide: true,
  });
}

/** Returns false when no process of the group is left. */
export function killGroup(leaderPid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return kill(-leaderPid, signal);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    // A zombie left to another parent may not be signalled (macOS says EPERM); nothing runs in it.
    if (error instanceof Error && 'code' in error && error.code === 'EPERM') return false;
    throw error;
  }
}
