import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { killGroup } from '@zerolatency/mcp';
import {
  hasItsNumber,
  isProcessMark,
  markOf,
  type ProcessMark,
} from '@zerolatency/service/processes';

/**
 * Remembers which processes run, so that a server that ignores the end of its
 * stdin does not outlive a bridge that was killed.
 */
export class Leftovers {
  readonly #dir: string;

  /** Its parent is there. */
  constructor(dir: string) {
    this.#dir = dir;
    if (!existsSync(dir)) mkdirSync(dir, { mode: 0o700 });
  }

  started(server: string, pid: number): void {
    const mark = markOf(pid);
    if (mark !== undefined) writeFileSync(this.#file(server), JSON.stringify(mark));
  }

  ended(server: string): void {
    rmSync(this.#file(server), { force: true });
  }

  /** Kills what an earlier bridge left behind and returns the servers' names. */
  end(): string[] {
    return readdirSync(this.#dir).filter((server) => {
      const mark = readMark(this.#file(server));
      this.ended(server);
      // The id may belong to another process by now; without a birth mark that cannot be seen.
      const isSame = mark !== undefined && mark.birth !== '' && hasItsNumber(mark);
      return isSame && killGroup(mark.pid, 'SIGKILL');
    });
  }

  #file(server: string): string {
    return join(this.#dir, server);
  }
}

function readMark(path: string): ProcessMark | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isProcessMark(value) ? value : undefined;
  } catch {
    // Half written when the bridge was killed.
    return undefined;
  }
}
