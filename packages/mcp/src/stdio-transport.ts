import type { ChildProcess } from 'node:child_process';
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import { ZlError } from '@zerolatency/errors';
import { LineSplitter, type LongLine, stderrLines } from './line-splitter.ts';
import { type GroupCommand, killGroup, spawnGroup } from './process-group.ts';

export interface StdioLimits {
  /** One JSON-RPC message, and what a server can make us hold; a longer answer fails its request. */
  readonly maxLineBytes: number;
  /** Written by us and not yet read by the server. */
  readonly maxPendingBytes: number;
  /** Lines that are not JSON-RPC before the server counts as broken. */
  readonly maxBadLines: number;
  /** A server that prints faster than this answers nobody; a notification counts four times. */
  readonly maxLinesPerSecond: number;
  readonly startTimeoutMs: number;
  /** Between closing stdin, SIGTERM and SIGKILL. */
  readonly stopGraceMs: number;
  readonly maxTools: number;
}

export const DEFAULT_LIMITS: StdioLimits = {
  // As many tools as are read, with schemas of several KiB each.
  maxLineBytes: 8 * 1024 * 1024,
  maxPendingBytes: 8 * 1024 * 1024,
  // A banner or a stray console.log is common and harmless; a stream of them is not MCP.
  maxBadLines: 16,
  // Four times what one server was measured to answer, and still readable in half a second on a
  // slow machine: a bound above that would never be reached, and the flood would not end.
  maxLinesPerSecond: 20_000,
  // Interpreters on a cold disk take seconds.
  startTimeoutMs: 15_000,
  stopGraceMs: 1_000,
  maxTools: 256,
};

/** The client takes several times as long for a notification as for an answer. */
const UNASKED_WEIGHT = 4;
/** A process that left the group may hold the pipe open for ever. */
const PIPE_GRACE_MS = 250;
/** As long as a server may take to exit once it has closed its stdout. */
const STDOUT_GRACE_MS = 1_000;
/** JSON-RPC's code for a failure of the receiver. */
const INTERNAL_ERROR = -32603;

export interface CloseReason {
  /** Why the server ended, unless we closed it. */
  readonly error?: ZlError;
}

interface TransportOptions extends GroupCommand {
  readonly limits: StdioLimits;
  readonly onStderr: (line: string) => void;
  readonly onBadLine: () => void;
  readonly onSpawn?: ((pid: number) => void) | undefined;
  /** Ends what the process left outside its group. */
  readonly onExit?: (() => Promise<void>) | undefined;
}

/**
 * MCP over the stdio of a process group. The SDK's own transport starts no
 * group, inherits environment, and lets a server print without end.
 */
export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: NonNullable<Transport['onmessage']>;
  /** With `pid`, the mark by which the client recognises stdio. */
  readonly stderr = null;
  readonly #options: TransportOptions;
  readonly #splitter: LineSplitter;
  readonly #gone = Promise.withResolvers<CloseReason>();
  #child: ChildProcess | undefined;
  #failure: ZlError | undefined;
  #closing = false;
  #hasAnswered = false;
  #badLines = 0;
  #lines = 0;
  #windowStartMs = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter(options.limits.maxLineBytes, {
      onLine: (line) => this.#onLine(line),
      onLongLine: (line) => this.#onLongLine(line),
    });
  }

  /** Settles once no process of the group is left. */
  get gone(): Promise<CloseReason> {
    return this.#gone.promise;
  }

  get failure(): ZlError | undefined {
    return this.#failure;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Any message has been received. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  async start(): Promise<void> {
    // A process that starts after the close would be nobody's to end.
    if (this.#closing || this.#failure !== undefined) {
      throw this.#failure ?? new ZlError('tool.server_down', 'the server was closed');
    }
    const child = spawnGroup(this.#options);
    this.#child = child;
    const started = Promise.withResolvers<void>();
    child.once('spawn', () => started.resolve());
    child.once('error', (cause) => {
      const error = new ZlError('tool.server_down', `cannot start: ${cause.message}`, { cause });
      this.#failure ??= error;
      started.reject(error);
      if (child.pid === undefined) this.#finish();
    });
    child.once('exit', (code, signal) => this.#onExit(code, signal));
    child.stdout?.on('data', (chunk: Buffer) => this.#onStdout(chunk));
    child.stdout?.once('end', () => this.#onStdoutEnd());
    child.stderr?.on('data', stderrLines(this.#options.onStderr));
    // A write to a server that just died; its exit gives the reason.
    child.stdin?.on('error', () => {});
    if (child.pid !== undefined) this.#reportSpawn(child.pid);
    await started.promise;
  }

  /** A process that nobody could end after a crash must not run. */
  #reportSpawn(pid: number): void {
    try {
      this.#options.onSpawn?.(pid);
    } catch (cause) {
      this.fail(new ZlError('internal', 'the process of the server cannot be recorded', { cause }));
    }
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (!stdin?.writable || this.#failure !== undefined) {
      throw this.#failure ?? new ZlError('tool.server_down', 'the server is not running');
    }
    if (stdin.writableLength > this.#options.limits.maxPendingBytes) {
      const error = new ZlError('tool.server_protocol', 'the server does not read its stdin');
      this.fail(error);
      throw error;
    }
    stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends stdin, then terminates, then kills whatever of the group is left. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#stop();
    }
    await this.#gone.promise;
  }

  #onStdout(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    if (this.#splitter.push(chunk)) return;
    this.fail(new ZlError('tool.server_protocol', 'a line of stdout does not end'));
  }

  /** A process that ends closes it as well, a moment before its exit is known. */
  #onStdoutEnd(): void {
    const timer = setTimeout(() => {
      this.fail(new ZlError('tool.server_protocol', 'the server closed its stdout'));
    }, STDOUT_GRACE_MS);
    this.#child?.once('exit', () => clearTimeout(timer));
  }

  #onLine(line: string): void {
    if (this.#failure !== undefined) return;
    const message = parseMessage(line);
    const isUnasked = message !== undefined && 'method' in message;
    if (this.#isFlood(isUnasked ? UNASKED_WEIGHT : 1)) {
      const bound = this.#options.limits.maxLinesPerSecond;
      const why = `more than ${bound} lines a second, or a quarter of that in notifications`;
      this.fail(new ZlError('tool.server_protocol', why));
    } else if (message !== undefined) {
      this.#hasAnswered = true;
      this.onmessage?.(message);
    } else if (line.trim() !== '') {
      this.#onBadLine();
    }
  }

  /** Fails the request it answers, and no other. */
  #onLongLine({ head, tail, bytes }: LongLine): void {
    if (this.#failure !== undefined) return;
    const id = answeredId(head, tail);
    if (id === undefined) {
      this.#onBadLine();
      return;
    }
    this.#hasAnswered = true;
    const bound = this.#options.limits.maxLineBytes;
    const message = `the answer has ${bytes} bytes and ${bound} are read`;
    const data = new ZlError('tool.result_too_large', message);
    this.onmessage?.({ jsonrpc: '2.0', id, error: { code: INTERNAL_ERROR, message, data } });
  }

  #onBadLine(): void {
    this.#badLines += 1;
    this.#options.onBadLine();
    if (this.#badLines < this.#options.limits.maxBadLines) return;
    const why = `${this.#badLines} lines of stdout are not JSON-RPC`;
    this.fail(new ZlError('tool.server_protocol', why));
  }

  #isFlood(weight: number): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#windowStartMs > 1000) {
      this.#windowStartMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += weight;
    return this.#lines > this.#options.limits.maxLinesPerSecond;
  }

  /** Ends the server at once, as a broken one. */
  fail(error: ZlError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#splitter.clear();
    this.#child?.stdout?.destroy();
    this.onerror?.(error);
    // Pending requests fail now and do not wait for the process to end.
    this.onclose?.();
    this.#kill('SIGKILL');
  }

  #stop(): void {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
      this.#finish();
      return;
    }
    child.stdin?.end();
    const graceMs = this.#options.limits.stopGraceMs;
    const { pid } = child;
    const terminate = setTimeout(() => {
      if (this.#options.terminate) this.#options.terminate(pid);
      else this.#kill('SIGTERM');
    }, graceMs);
    const force = setTimeout(() => this.#kill('SIGKILL'), 2 * graceMs);
    child.once('exit', () => {
      clearTimeout(terminate);
      clearTimeout(force);
    });
  }

  #kill(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid !== undefined) killGroup(pid, signal);
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    // Children that outlive their leader would be orphans.
    this.#kill('SIGKILL');
    // Its last output is still in the pipe and is read first.
    const finish = () => {
      clearTimeout(timer);
      if (!this.#closing) {
        const how = signal === null ? `with status ${code}` : `by ${signal}`;
        this.#failure ??= new ZlError('tool.server_down', `the server ended ${how}`);
      }
      void this.#endRest().then(() => this.#finish());
    };
    const timer = setTimeout(finish, PIPE_GRACE_MS);
    this.#child?.once('close', finish);
  }

  async #endRest(): Promise<void> {
    // Whoever ends it reports what it could not end; the server's end does not wait for that.
    await this.#options.onExit?.().catch(() => {});
  }

  #finish(): void {
    this.#child?.stdin?.destroy();
    this.#child?.stdout?.destroy();
    this.#child?.stderr?.destroy();
    this.onclose?.();
    this.#gone.resolve(this.#failure === undefined ? {} : { error: this.#failure });
  }
}

const ID_FIRST =
  /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(?:result|error)"/;
const RESULT_FIRST = /^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(?:result|error)"/;
const ID_LAST = /"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

/** The id of an answer whose middle is unknown: it stands before the result, or after. */
function answeredId(head: string, tail: string): number | undefined {
  const id = ID_FIRST.exec(head) ?? (RESULT_FIRST.test(head) ? ID_LAST.exec(tail) : null);
  return id === null ? undefined : Number(id[1]);
}

/** Checks the envelope only; the client validates the message itself. */
function parseMessage(line: string): JSONRPCMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (isObject(value) && 'error' in value && isObject(value.error)) mendError(value.error);
  return isMessage(value) ? value : undefined;
}

/** The client drops an error without a whole code and a message, and its call would time out. */
function mendError(error: { code?: unknown; message?: unknown }): void {
  if (!Number.isSafeInteger(error.code)) error.code = INTERNAL_ERROR;
  if (typeof error.message !== 'string') error.message = 'an error without a message';
}

function isMessage(value: unknown): value is JSONRPCMessage {
  if (!isObject(value) || !('jsonrpc' in value) || value.jsonrpc !== '2.0') return false;
  if ('method' in value) return typeof value.method === 'string';
  if (!('id' in value)) return false;
  return (
    ('result' in value && isObject(value.result)) || ('error' in value && isObject(value.error))
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
