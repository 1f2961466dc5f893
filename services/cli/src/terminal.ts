import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { styleText } from 'node:util';
import { type ErrorId, fromLocal } from '@zerolatency/errors';
import { escapeUnseen, foreignLine } from '@zerolatency/redaction';
import type { Layout } from './installation/layout.ts';

/** The process as commands see it; they touch nothing else of it. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(isRaw: boolean): unknown };
  readonly stdout: Writable & {
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
  };
  readonly stderr: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly nodePath: string;
  onInterrupt(listener: () => void): () => void;
  /** Signal 0 only checks that the process exists. Throws when it does not. */
  signalProcess(pid: number, signal: NodeJS.Signals | 0): void;
}

/** Exit statuses that scripts may rely on; `zl --help` lists them. */
export const EXIT_STATUS = {
  ok: 0,
  /** Denied, failed, invalid or unhealthy. */
  failed: 1,
  usage: 2,
  unreachable: 3,
  /** Nothing is wrong as far as it could be checked, and not all of it could. */
  unchecked: 4,
  interrupted: 130,
} as const;

/** Ends a command with the exit status of its work. */
export type ExitWith = (work: Promise<number>) => Promise<void>;

/** What a group of commands needs. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly finish: ExitWith;
  /** The paths of the installation, which need not exist. */
  layout(): Layout;
  /** The same; throws where nothing is installed. */
  installed(): Layout;
}

export function print(terminal: Terminal, line: string): void {
  terminal.stdout.write(`${line}\n`);
}

/** Waits while the reader of our output is behind. */
export async function drained({ stdout }: Terminal): Promise<void> {
  if (stdout.writableNeedDrain) await once(stdout, 'drain');
}

export function printJson(terminal: Terminal, value: unknown): void {
  print(terminal, escapeUnseen(JSON.stringify(value)));
}

/** Indented JSON. */
export function readable(value: unknown): string {
  return JSON.stringify(value, null, 2).split('\n').map(escapeUnseen).join('\n');
}

const UNREACHABLE: ReadonlySet<string> = new Set<ErrorId>([
  'host.unreachable',
  'host.lost',
  'relay.unreachable',
  'registrar.unreachable',
]);

export function statusOf({ id }: { readonly id: string }): number {
  // Whoever noticed it, zl or the host: an argument was wrong.
  if (id === ('request.invalid' satisfies ErrorId)) return EXIT_STATUS.usage;
  return UNREACHABLE.has(id) ? EXIT_STATUS.unreachable : EXIT_STATUS.failed;
}

/** The one place that prints a failure. Returns its exit status. */
export function reportFailure(terminal: Terminal, reason: unknown): number {
  const { id, message, help } = fromLocal(reason);
  const lines = message.split('\n').map((line) => foreignLine(line, 2_000));
  terminal.stderr.write(`zl: ${id}: ${lines.join('\n    ')}\n    ${help}\n`);
  return statusOf({ id });
}

type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

/** Colours only on a terminal, and never with NO_COLOR. */
export function isColoured(terminal: Terminal): boolean {
  return isLive(terminal) && !terminal.env.NO_COLOR;
}

/** What was written on it can be replaced. */
export function isLive({ stdout, env }: Terminal): boolean {
  return stdout.isTTY === true && env.TERM !== 'dumb';
}

export function paintFor(terminal: Terminal): Paint {
  return isColoured(terminal)
    ? (style, text) => styleText(style, text, { validateStream: false })
    : (_, text) => text;
}
