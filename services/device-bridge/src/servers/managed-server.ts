import { setTimeout as sleep } from 'node:timers/promises';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { BuiltinServer, ManifestServer } from '@zerolatency/manifest';
import type { McpConnection } from '@zerolatency/mcp';
import { maskText } from '@zerolatency/redaction';
import { Backoff, type BackoffRange } from '@zerolatency/service/backoff';
import fsRead from '../../../../contracts/tools/fs.read/v1/manifest.json' with { type: 'json' };
import type { Log } from '../ports.ts';
import type { ContainmentKind } from '../sandbox/containment.ts';
import { type OfferedTool, offeredTools } from './catalog.ts';
import { Semaphore } from './semaphore.ts';

/**
 *   starting --> ready --> failed --(backoff)--> starting
 *      |                     ^
 *      +---------------------+
 *
 * draining is reachable from any of them and leads only to stopped, which is final.
 */
export type ServerState =
  | { readonly name: 'starting' }
  | ({ readonly name: 'ready'; readonly tools: ToolMap } & LaunchedServer)
  | { readonly name: 'failed'; readonly error: ZlError; readonly retryInMs: number }
  | { readonly name: 'draining' | 'stopped' };

/** A server's process. */
export interface LaunchedServer {
  readonly connection: McpConnection;
  readonly containment: ContainmentKind;
}

export type ToolMap = ReadonlyMap<string, OfferedTool>;

export interface LaunchOptions {
  readonly onStderr: (line: string) => void;
  readonly onToolsChanged: () => void;
  /** Closes the server, whether it has started or not. */
  readonly signal: AbortSignal;
  /** Ends it without the grace that a close gives. */
  readonly kill: AbortSignal;
}

/** Starts one process of a server; rejects unless its files are the signed ones. */
export type Launch = (spec: ManifestServer, options: LaunchOptions) => Promise<LaunchedServer>;

export interface ServerDeps {
  readonly launch: Launch;
  readonly backoff: BackoffRange;
  readonly log: Pick<Log, 'info' | 'warn'>;
  readonly onChange: () => void;
  readonly onRestart: (server: string) => void;
}

interface BuiltinTool {
  readonly effects: string;
  readonly paths: readonly string[];
}

const BUILTIN_TOOLS: Readonly<Record<BuiltinServer['builtin'], Record<string, BuiltinTool>>> = {
  fs: { read: fsRead },
};

const DEFAULT_CALL_TIMEOUT_MS = 60_000;
const DEFAULT_MAX_CONCURRENT_CALLS = 32;
/** After a call went unanswered, a server has this long to answer a ping. */
const PING_TIMEOUT_MS = 2_000;
/** What status shows of the output of a failed server. */
const MAX_STDERR_LINES = 5;
const MAX_STDERR_CHARS = 500;
/** A server that ran this long restarts without the backoff of earlier failures. */
const PROVEN_AFTER_MS = 60_000;

/** Keeps one MCP server of the manifest running. */
export class ManagedServer {
  readonly spec: ManifestServer;
  readonly callTimeoutMs: number;
  readonly semaphore: Semaphore;
  readonly #deps: ServerDeps;
  readonly #stopping = new AbortController();
  readonly #killing = new AbortController();
  #state: ServerState = { name: 'starting' };
  readonly #backoff: Backoff;
  #isPinging = false;
  #onceStarted: (() => void)[] = [];
  #running: Promise<void> | undefined;
  #stderr: string[] = [];
  #lastError: ZlError | undefined;

  constructor(spec: ManifestServer, deps: ServerDeps) {
    this.spec = spec;
    this.#deps = deps;
    this.#backoff = new Backoff(deps.backoff);
    this.callTimeoutMs = spec.limits?.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS;
    this.semaphore = new Semaphore(spec.limits?.maxConcurrentCalls ?? DEFAULT_MAX_CONCURRENT_CALLS);
  }

  get state(): ServerState {
    return this.#state;
  }

  /** Why its latest process ended, and what that printed last; undefined while one works. */
  get failure(): { readonly error: ZlError; readonly stderr: readonly string[] } | undefined {
    const error = this.#state.name === 'ready' ? undefined : this.#lastError;
    return error && { error, stderr: this.#stderr };
  }

  /** What a call can change; anything, where nothing is declared. */
  effects(tool: string): 'none' | 'local' | 'external' {
    const { spec } = this;
    const declared =
      'builtin' in spec ? BUILTIN_TOOLS[spec.builtin][tool]?.effects : spec.effects?.[tool];
    return declared === 'none' || declared === 'local' ? declared : 'external';
  }

  hasEffects(tool: string): boolean {
    return this.effects(tool) !== 'none';
  }

  /** Where relative paths start, by argument. Only the built-in servers' contracts say so. */
  pathBases(tool: string): Readonly<Record<string, string>> {
    if (!('builtin' in this.spec)) return {};
    const { builtin, settings } = this.spec;
    const { paths = [] } = BUILTIN_TOOLS[builtin][tool] ?? {};
    const [first = ''] = settings.roots;
    return Object.fromEntries(paths.map((argument) => [argument, first]));
  }

  /** Calls back once it is no longer starting, whatever came of that. */
  onceStarted(then: () => void): void {
    this.#onceStarted.push(then);
  }

  start(): void {
    this.#running ??= this.#superviseUntilStopped();
  }

  /** Takes no more calls, lets running ones finish, and stops. */
  async drain(): Promise<void> {
    this.#setState({ name: 'draining' });
    const { signal } = this.#stopping;
    await Promise.race([
      this.semaphore.close(),
      this.#running,
      // No running call has longer than this. Rejects when stopped, which ends the wait too.
      sleep(this.callTimeoutMs, undefined, { signal }).catch(() => {}),
    ]);
    await this.stop();
  }

  /** Resolves once no process of it is left; the deadline ends its grace. */
  async stop(deadline?: AbortSignal): Promise<void> {
    this.#stopping.abort();
    const kill = () => this.#killing.abort();
    if (deadline?.aborted) kill();
    else deadline?.addEventListener('abort', kill, { once: true });
    await this.#running;
    deadline?.removeEventListener('abort', kill);
    this.#setState({ name: 'stopped' });
  }

  /** Pings a server that left a call unanswered, and ends it if it hangs. */
  async suspectHang(): Promise<void> {
    if (this.#state.name !== 'ready' || this.#isPinging) return;
    const { connection } = this.#state;
    this.#isPinging = true;
    try {
      await connection.ping(PING_TIMEOUT_MS);
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
      this.#lastError = error;
      this.#setState({ name: 'failed', error, retryInMs });
      // Rejects when stopped, which the loop's condition then sees.
      await sleep(retryInMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  /** Runs one process from start to end and returns why it ended; undefined when we ended it. */
  async #liveOnce(): Promise<ZlError | undefined> {
    this.#setState({ name: 'starting' });
    let launched: LaunchedServer | undefined;
    const stderr: string[] = [];
    const onStderr = (line: string) => {
      this.#stderr = stderr;
      stderr.push(maskText(line.slice(0, MAX_STDERR_CHARS)).text);
      if (stderr.length > MAX_STDERR_LINES) stderr.shift();
    };
    try {
      launched = await this.#deps.launch(this.spec, {
        onStderr,
        // A change before the first list needs no second one.
        onToolsChanged: () => launched && void this.#toolsChanged(launched),
        signal: this.#stopping.signal,
        kill: this.#killing.signal,
      });
      const readySinceMs = performance.now();
      await this.#offer(launched);
      const { error } = await launched.connection.closed;
      if (performance.now() - readySinceMs > PROVEN_AFTER_MS) this.#backoff.reset();
      return error;
    } catch (reason) {
      await launched?.connection.close();
      return fromUnknown(reason);
    }
  }

  async #offer(launched: LaunchedServer): Promise<void> {
    const { tools, refused } = offeredTools(await launched.connection.listTools());
    for (const { tool, why } of refused) {
      this.#deps.log.warn({ server: this.spec.name, tool, why }, 'a tool is not offered');
    }
    if (this.#isLeaving) return;
    this.#setState({ name: 'ready', ...launched, tools });
  }

  async #toolsChanged(launched: LaunchedServer): Promise<void> {
    try {
      await this.#offer(launched);
    } catch (reason) {
      launched.connection.fail(fromUnknown(reason));
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
    if (state.name === 'starting') return;
    for (const then of this.#onceStarted.splice(0)) then();
  }
}
