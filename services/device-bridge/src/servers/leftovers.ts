import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { killGroup } from '@zerolatency/mcp';

/**
 * Remembers which processes run, so that a bridge that was killed does not
 * leave a server behind for good that ignores the end of its stdin.
 */
export class Leftovers {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  started(server: string, pid: number): void {
    const birth = birthOf(pid);
    if (birth !== undefined) writeFileSync(this.#file(server), JSON.stringify({ pid, birth }));
  }

  ended(server: string): void {
    rmSync(this.#file(server), { force: true });
  }

  /** Kills what an earlier bridge left, and says which servers that were. */
  end(): string[] {
    return readdirSync(this.#dir).filter((server) => {
      const { pid, birth } = readEntry(this.#file(server));
      this.ended(server);
      // The same number may have become another process since.
      return pid > 1 && birth !== '' && birthOf(pid) === birth && killGroup(pid, 'SIGKILL');
    });
  }

  #file(server: string): string {
    return join(this.#dir, server);
  }
}

function readEntry(path: string): { pid: number; birth: string } {
  try {
    const { pid, birth } = JSON.parse(readFileSync(path, 'utf8'));
    if (Number.isSafeInteger(pid) && typeof birth === 'string') return { pid, birth };
  } catch {
    // Half written when the bridge was killed: nothing can be said of it.
  }
  return { pid: 0, birth: '' };
}

/** When a process was started, in whatever form this system tells it; undefined if there is none. */
function birthOf(pid: number): string | undefined {
  try {
    if (platform() !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; the start time is the 20th field after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    // No such process, or no way to ask on this system.
    return undefined;
  }
}
