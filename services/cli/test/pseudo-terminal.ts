import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import headless from '@xterm/headless';
import type { Installed } from './installed.ts';

const zl = join(import.meta.dirname, '../../../zl');
const SIZE = { cols: 80, rows: 24 };

/** A person at a terminal that runs `zl`. */
export interface Person {
  type(keys: string): void;
  /** What they see, with what has scrolled away above it. */
  sees(): string;
  /** All that was written, control sequences included. */
  written(): string;
  readonly ended: Promise<number | null>;
}

/** `script` of util-linux, which is part of every Debian, gives the program a terminal. */
export function personAt(
  t: TestContext,
  { layout }: Installed,
  { args, env = {} }: { readonly args: readonly string[]; readonly env?: NodeJS.ProcessEnv },
): Person {
  const { NO_COLOR: _, ...inherited } = process.env;
  const command = `stty cols ${SIZE.cols} rows ${SIZE.rows}; exec "$ZL" ${args.join(' ')}`;
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    env: {
      ...inherited,
      SHELL: '/bin/sh',
      TERM: 'xterm-256color',
      ZL: zl,
      ZL_HOME: layout.home,
      ...env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const screen = new headless.Terminal({ ...SIZE, scrollback: 5_000, allowProposedApi: true });
  let written = '';
  child.stdout.on('data', (data: Buffer) => {
    written += data.toString('latin1');
    screen.write(data);
  });
  return {
    type: (keys) => child.stdin.write(keys),
    sees: () => linesOf(screen).join('\n'),
    written: () => Buffer.from(written, 'latin1').toString('utf8'),
    ended: once(child, 'close').then(([status]) => status),
  };
}

/** What a terminal shows after the given output. */
export async function shownOf(output: string, size = SIZE): Promise<string> {
  const screen = new headless.Terminal({ ...size, scrollback: 5_000, allowProposedApi: true });
  // Without a terminal driver nobody returns the carriage.
  await new Promise<void>((resolve) => screen.write(output.replaceAll('\n', '\r\n'), resolve));
  return linesOf(screen).join('\n');
}

function linesOf(screen: InstanceType<typeof headless.Terminal>): string[] {
  const { active } = screen.buffer;
  const lines: string[] = [];
  for (let row = 0; row < active.length; row++) {
    const line = active.getLine(row);
    const text = line?.translateToString(true) ?? '';
    if (line?.isWrapped) lines.push(`${lines.pop() ?? ''}${text}`);
    else lines.push(text);
  }
  return lines.join('\n').trimEnd().split('\n');
}
