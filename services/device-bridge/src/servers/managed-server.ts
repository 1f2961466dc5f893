import { setTimeout as sleep } from 'node:timers/promises';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { McpConnection } from '@zerolatency/mcp';
import type { ManifestServer } from '@zerolatency/policy';
import { Backoff, type BackoffRange } from '../backoff.ts';
import { launchServer } from './launch-server.ts';
import type { Leftovers } from './leftovers.ts';
import { type OfferedTool, offeredTools } from './offered-tools.ts';
import { Slots } from './slots.ts';

/**
 *   starting --> ready --> failed --(backoff)--> starting
 *      |                     ^
 *      +---------------------+
 *
 * draining, from any of them, leads only to stopped; stopped, from anywhere, is for good.
 */
export type ServerState =
  | { readonly name: 'starting' }
  | { readonly name: 'ready'; readonly connection: McpConnection; readonly tools: ToolMap }
  | { readonly name: 'failed'; readonly error: ZlError; readonly retryInMs: number }
  | { readonly name: 'draining' | 'stopped' };

export type ToolMap = ReadonlyMap<string, OfferedTool>;

export interface ServerLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ServerDeps {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly backoff: BackoffRange;
  readonly leftovers: Pick<Leftovers, 'started' | 'ended'>;
  readonly log: ServerLog;
  readonly onChange: () => void;
  readonly onRestart: (server: string) => void;
}

const defaultCallTimeoutMs = 60_000;
const defaultMaxConcurrentCalls = 32;
/** A server that answered no call is given this long to answer a ping before it is ended. */
const pingTimeoutMs = 2_000;
/** One that has run for so long starts its next life without the memory of earlier failures. */
const provenAfterMs = 60_000;

/** Keeps one MCP server of the manifest running. */
export class ManagedServer {
  readonly spec: ManifestServer;
  readonly callTimeoutMs: number;
  readonly slots: Slots;
  readonly #deps: ServerDeps;
  readonly #stopping = new AbortController();
  readonly #killing = new AbortController();
  #state: ServerState = { name: 'starting' };
  readonly #backoff: Backoff;
  #isPinging = false;
  #running: Promise<void> | undefined;

  constructor(spec: ManifestServer, deps: ServerDeps) {
    this.spec = spec;
    this.#deps = deps;
    this.#backoff = new Backoff(deps.backoff);
    this.callTimeoutMs = spec.limits?.callTimeoutMs ?? defaultCallTimeoutMs;
    this.slots = new Slots(spec.limits?.maxConcurrentCalls ?? defaultMaxConcurrentCalls);
  }

  get state(): ServerState {
    return this.#state;
  }

  start(): void {
    this.#running ??= this.#superviseUntilStopped();
  }

  /** Takes no more calls, lets those that run end, and stops. */
  async drain(): Promise<void> {
    this.#setState({ name: 'draining' });
    const { signal } = this.#stopping;
    await Promise.race([
      this.slots.close(),
      this.#running,
      // No call that runs has longer than this. Rejects when stopped, which is an end of it too.
      sleep(this.callTimeoutMs, undefined, { signal }).catch(() => {}),
    ]);
    await this.stop();
  }

  /** Resolves once no process of it is left; from the deadline on it is given no more time. */
  async stop(deadline?: AbortSignal): Promise<void> {
    this.#stopping.abort();
    const kill = () => this.#killing.abort();
    if (deadline?.aborted) kill();
    else deadline?.addEventListener('abort', kill, { once: true });
    await this.#running;
    deadline?.removeEventListener('abort', kill);
    this.#setState({ name: 'stopped' });
  }

  /** A call went unanswered: finds out whether the server hangs, and ends it if so. */
  async suspectHang(): Promise<void> {
    if (this.#state.name !== 'ready' || this.#isPinging) return;
    const { connection } = this.#state;
    this.#isPinging = true;
    try {
      await connection.ping(pingTimeoutMs);
    } catch (cause) {
      connection.fail(new ZlError('tool.server_down', 'the server hangs and was ended', { cause }));
    } finally {
      this.#isPinging = false;
    }
  }

  get #isLeaving(): boolean {
    return this.#stopping.signal.aborted || this.#state.name === 'draining';
  }

  async #superviseUntilStopped(): Promise<void> {
    for (let life = 0; !this.#isLeaving; life++) {
      if (life > 0) this.#deps.onRestart(this.spec.name);
      const error = await this.#liveOnce();
      if (error === undefined || this.#isLeaving) return;
      const retryInMs = this.#backoff.nextMs();
      this.#setState({ name: 'failed', error, retryInMs });
      // Rejects when stopped, which the loop's condition then sees.
      await sleep(retryInMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  /** From start to end, and why it ended; undefined when we ended it. */
  async #liveOnce(): Promise<ZlError | undefined> {
    this.#setState({ name: 'starting' });
    let connection: McpConnection | undefined;
    try {
      connection = await launchServer(this.spec, this.#deps, {
        onToolsChanged: (changed) => void this.#toolsChanged(changed),
        signal: this.#stopping.signal,
        kill: this.#killing.signal,
      });
      const readySinceMs = performance.now();
      await this.#offer(connection);
      const { error } = await connection.closed;
      if (performance.now() - readySinceMs > provenAfterMs) this.#backoff.reset();
      return error;
    } catch (reason) {
      await connection?.close();
      return fromUnknown(reason);
    } finally {
      this.#deps.leftovers.ended(this.spec.name);
    }
  }

  async #offer(connection: McpConnection): Promise<void> {
    const { tools, refused } = offeredTools(await connection.listTools());
    for (const { tool, why } of refused) {
      this.#deps.log.warn({ server: this.spec.name, tool, why }, 'a tool is not offered');
    }
    if (this.#isLeaving) return;
    this.#setState({ name: 'ready', connection, tools });
  }

  async #toolsChanged(connection: McpConnection): Promise<void> {
    try {
      await this.#offer(connection);
    } catch (reason) {
      connection.fail(fromUnknown(reason));
    }
  }

  #setState(state: ServerState): void {
    if (this.#state.name === 'stopped') return;
    this.#state = state;
    const { log, onChange } = this.#deps;
    const fields = { server: this.spec.name, state: state.name };
    if (state.name === 'failed') {
      const { error, retryInMs } = state;
      log.warn({ ...fields, errorId: error.id, retryInMs }, error.message);
    } else {
      log.info(fields, 'server state');
    }
    onChange();
  }
}
