import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { foreignLine } from '@zerolatency/redaction';
import type { Layout } from '../installation/layout.ts';
import { componentsOf, type Service } from '../installation/processes.ts';
import { EXIT_STATUS, type Paint, paintFor, print, type Terminal } from '../terminal.ts';

/** The end of each log that is shown, and the most that is read of it at once. */
const MAX_BYTES = 256 * 1024;
const POLL_MS = 250;
const MAX_LINE_CHARS = 4_000;

export interface LogsOptions {
  readonly component?: Service;
  readonly follow?: boolean;
}

/** The log lines of the components, by time. */
export async function logs(
  terminal: Terminal,
  layout: Layout,
  { component, follow = false }: LogsOptions,
): Promise<number> {
  // All relays of a pool are the component tool-relay.
  const services = componentsOf(layout).filter(
    (each) => component === undefined || each === component || each.startsWith(`${component}-`),
  );
  const files = services.map((service) => new LogFile(service, layout.log(service)));
  const lines = (await Promise.all(files.map((file) => file.next()))).flat();
  if (lines.length === 0 && !follow) {
    throw new ZlError(
      'file.unusable',
      `${layout.logs} holds no log yet; "zl up" starts the programs`,
    );
  }
  const paint = paintFor(terminal);
  const show = (shown: readonly LogLine[]) => {
    for (const line of shown.toSorted((a, b) => (a.time < b.time ? -1 : 1))) {
      print(terminal, formatted(line, paint));
    }
  };
  show(lines);
  if (!follow) return EXIT_STATUS.ok;
  const interrupted = new AbortController();
  const stopListening = terminal.onInterrupt(() => interrupted.abort());
  while (!interrupted.signal.aborted) {
    // Rejects when interrupted, which the loop's condition then sees.
    await delay(POLL_MS, undefined, { signal: interrupted.signal }).catch(() => {});
    show((await Promise.all(files.map((file) => file.next()))).flat());
  }
  stopListening();
  return EXIT_STATUS.interrupted;
}

export interface LogLine {
  readonly service: string;
  /** ISO 8601; that of the line before for text without one. */
  readonly time: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** A log, read from its end on. */
export class LogFile {
  readonly #service: string;
  readonly #path: string;
  readonly #maxBytes: number;
  #offset: number | undefined;
  #partial = '';
  #time = '';

  constructor(service: string, path: string, maxBytes = MAX_BYTES) {
    this.#service = service;
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** The lines that were written since the last call. */
  async next(): Promise<LogLine[]> {
    // A component that has never run has no log.
    const size = await stat(this.#path).then(
      (found) => found.size,
      () => 0,
    );
    const isFirst = this.#offset === undefined;
    // A log that has become shorter was replaced.
    const from = this.#offset === undefined || size < this.#offset ? 0 : this.#offset;
    const start = Math.max(from, size - this.#maxBytes);
    this.#offset = size;
    if (size <= start) return [];
    const range = { start, end: size - 1, encoding: 'utf8' } as const;
    const lines = (this.#partial + (await text(createReadStream(this.#path, range)))).split('\n');
    this.#partial = lines.pop() ?? '';
    if (isFirst && start > 0) lines.shift();
    return lines.filter((line) => line.trim() !== '').map((line) => this.#parse(line));
  }

  #parse(line: string): LogLine {
    const fields = parsed(line);
    if (typeof fields.time === 'string') this.#time = fields.time;
    return { service: this.#service, time: this.#time, fields, text: line };
  }
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    // What a program prints before its log is open.
    return {};
  }
}

const COLOURS: Readonly<Record<string, Parameters<Paint>[0]>> = { warn: 'yellow', error: 'red' };

export function formatted({ service, time, fields, text: line }: LogLine, paint: Paint): string {
  const { event, level: given, msg = event, time: _, service: __, version: ___, ...rest } = fields;
  // A program prints where it serves as an event, beside its log.
  const isEvent = typeof event === 'string';
  const level = isEvent ? 'info' : given;
  const clock = time.slice(11, 23).padEnd(13);
  const name = service.padEnd(14);
  if (typeof level !== 'string') return foreignLine(`${clock}${name}${line}`, MAX_LINE_CHARS);
  const fitting = Object.entries(rest).filter(([, value]) => !isEvent || typeof value !== 'object');
  const shown = fitting.map(([key, value]) => `${key}=${valueText(value)}`);
  const words = foreignLine([String(msg ?? ''), ...shown].join(' '), MAX_LINE_CHARS);
  return `${clock}${name}${paint(COLOURS[level] ?? 'dim', level.padEnd(6))}${words}`;
}

/** A stack stays in the file. */
function valueText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const { stack: _, ...rest } = { ...value } as Record<string, unknown>;
  return JSON.stringify(Array.isArray(value) ? value : rest);
}
