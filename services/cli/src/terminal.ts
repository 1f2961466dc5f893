import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

/** What a program has of the process it runs in; commands touch nothing else of it. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly nodePath: string;
  onInterrupt(listener: () => void): () => void;
  /** Signal 0 asks only whether the process is there; throws when it is not. */
  signalProcess(pid: number, signal: NodeJS.Signals | 0): void;
}

/** Exit statuses that scripts may rely on; `zl --help` tells them. */
export const exitStatus = {
  ok: 0,
  /** The answer is no: a denial, a failed turn, a ledger that does not verify. */
  failed: 1,
  usage: 2,
  unreachable: 3,
  interrupted: 130,
} as const;

export function print(terminal: Terminal, line: string): void {
  terminal.stdout.write(`${line}\n`);
}

/** Waits for a reader of what was printed that is slower than we are. */
export async function drained({ stdout }: Terminal): Promise<void> {
  if (stdout.writableNeedDrain) await once(stdout, 'drain');
}

export function printJson(terminal: Terminal, value: unknown): void {
  print(terminal, escapeLateControls(JSON.stringify(value)));
}

/** JSON over several lines. */
export function readable(value: unknown): string {
  return JSON.stringify(value, null, 2).split('\n').map(escapeLateControls).join('\n');
}

/** JSON escapes C0 only, and a terminal obeys DEL and C1 as well. */
function escapeLateControls(json: string): string {
  return json.replace(
    /\p{Cc}/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
