import type { ChildProcess } from 'node:child_process';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  isJSONRPCErrorResponse,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
} from '@modelcontextprotocol/sdk/types.js';
import { ZlError } from '@zerolatency/errors';
import type { StdioLimits } from './limits.ts';
import { LineSplitter } from './line-splitter.ts';
import { type GroupCommand, killGroup, spawnGroup } from './process-group.ts';
import { stderrLog } from './stderr-log.ts';

/** A process that left the group may hold the pipe open for ever. */
const pipeGraceMs = 250;

export interface CloseReason {
  /** Why the server is gone, unless we closed it. */
  readonly error?: ZlError;
}

interface TransportOptions extends GroupCommand {
  readonly limits: StdioLimits;
  readonly onStderr: (line: string) => void;
  readonly onBadLine: () => void;
  readonly onSpawn?: ((pid: number) => void) | undefined;
}

/**
 * MCP over the stdio of a process group. The SDK's own transport starts no
 * group, inherits environment, and lets a server print without end.
 */
export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  readonly #options: TransportOptions;
  readonly #splitter: LineSplitter;
  readonly #gone = Promise.withResolvers<CloseReason>();
  #child: ChildProcess | undefined;
  #failure: ZlError | undefined;
  #closing = false;
  #badLines = 0;
  #lines = 0;
  #windowStartMs = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter(options.limits.maxLineBytes);
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

  start(): Promise<void> {
    const child = spawnGroup(this.#options);
    this.#child = child;
    const started = Promise.withResolvers<void>();
    if (child.pid !== undefined) this.#options.onSpawn?.(child.pid);
    child.once('spawn', () => started.resolve());
    child.once('error', (cause) => {
      const error = new ZlError('tool.server_down', `cannot start: ${cause.message}`, { cause });
      this.#failure ??= error;
      started.reject(error);
      if (child.pid === undefined) this.#finish();
    });
    child.once('exit', (code, signal) => this.#onExit(code, signal));
    child.stdout?.on('data', (chunk: Buffer) => this.#onStdout(chunk));
    child.stderr?.on('data', stderrLog(this.#options.onStderr));
    // A write to a server that just died; its exit tells the rest.
    child.stdin?.on('error', () => {});
    return started.promise;
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
    if (this.#splitter.push(chunk, (line) => this.#onLine(line))) return;
    const bound = this.#options.limits.maxLineBytes;
    this.fail(new ZlError('tool.server_protocol', `a line of stdout exceeds ${bound} bytes`));
  }

  #onLine(line: string): void {
    if (this.#failure !== undefined) return;
    if (this.#isFlood()) {
      const bound = this.#options.limits.maxLinesPerSecond;
      this.fail(new ZlError('tool.server_protocol', `more than ${bound} lines a second`));
      return;
    }
    if (line.trim() === '') return;
    const message = parseMessage(line);
    if (message !== undefined) {
      this.onmessage?.(message);
      return;
    }
    this.#badLines += 1;
    this.#options.onBadLine();
    if (this.#badLines < this.#options.limits.maxBadLines) return;
    const told = `${this.#badLines} lines of stdout are not JSON-RPC`;
    this.fail(new ZlError('tool.server_protocol', told));
  }

  #isFlood(): boolean {
    const nowMs = performance.now();
    if (nowMs - this.#windowStartMs > 1000) {
      this.#windowStartMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += 1;
    return this.#lines > this.#options.limits.maxLinesPerSecond;
  }

  /** Ends the server at once, as a broken one. */
  fail(error: ZlError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#splitter.clear();
    this.#child?.stdout?.destroy();
    this.onerror?.(error);
    // Pending requests fail now; they need not wait for the process to go.
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
    const terminate = setTimeout(() => this.#kill('SIGTERM'), graceMs);
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
    // What it printed last is still in the pipe, and is read before its end is told.
    const finish = () => {
      clearTimeout(timer);
      if (!this.#closing) {
        const how = signal === null ? `with status ${code}` : `by ${signal}`;
        this.#failure ??= new ZlError('tool.server_down', `the server ended ${how}`);
      }
      this.#finish();
    };
    const timer = setTimeout(finish, pipeGraceMs);
    this.#child?.once('close', finish);
  }

  #finish(): void {
    this.#child?.stdin?.destroy();
    this.#child?.stdout?.destroy();
    this.#child?.stderr?.destroy();
    this.onclose?.();
    this.#gone.resolve(this.#failure === undefined ? {} : { error: this.#failure });
  }
}

function parseMessage(line: string): JSONRPCMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  // In the order of likelihood: a union would build the errors of all the others first.
  if (isJSONRPCResultResponse(value) || isJSONRPCNotification(value)) return value;
  return isJSONRPCRequest(value) || isJSONRPCErrorResponse(value) ? value : undefined;
}
