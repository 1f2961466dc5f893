import { type ChildProcess, spawn } from 'node:child_process';
// The one signal Node cannot send through a ChildProcess is the one to its group.
import { kill } from 'node:process';

export interface GroupCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
}

/**
 * Starts a process as the leader of a group of its own, so that its children can be ended with it.
 * It has no streams where there were no file descriptors for them; its error says so.
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

/** False when the group has no process any more. */
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
