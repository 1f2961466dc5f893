import { Readable, Writable } from 'node:stream';
import type { Terminal } from '../src/terminal.ts';

export interface FakeTerminal extends Terminal {
  /** Everything written to stdout. */
  output(): string;
  errors(): string;
  /** Acts as Ctrl-C. */
  interrupt(): void;
}

export interface FakeTerminalOptions {
  readonly input?: readonly string[] | Readable;
  readonly isTTY?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly nodePath?: string;
}

export function fakeTerminal(options: FakeTerminalOptions = {}): FakeTerminal {
  const { input = [], isTTY = false, env = {}, cwd = '/', nodePath = process.execPath } = options;
  const stdout = recorder();
  const stderr = recorder();
  const listeners = new Set<() => void>();
  return {
    stdin: input instanceof Readable ? input : Readable.from(input.map((line) => `${line}\n`)),
    stdout: Object.assign(stdout.stream, { isTTY }),
    stderr: stderr.stream,
    env,
    cwd,
    nodePath,
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    signalProcess: (pid, signal) => process.kill(pid, signal),
    output: stdout.text,
    errors: stderr.text,
    interrupt() {
      for (const listener of [...listeners]) listener();
    },
  };
}

function recorder() {
  const chunks: string[] = [];
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => chunks.join('') };
}
