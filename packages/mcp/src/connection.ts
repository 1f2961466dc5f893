import {
  Client,
  ProtocolError,
  ProtocolErrorCode,
  SdkError,
  SdkErrorCode,
  type StandardSchemaV1,
} from '@modelcontextprotocol/client';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { GroupCommand } from './process-group.ts';
import {
  type CloseReason,
  DEFAULT_LIMITS,
  type StdioLimits,
  StdioTransport,
} from './stdio-transport.ts';
import { Throttle } from './throttle.ts';

/** Each notice of changed tools costs a listing and a catalog sent to the relay. */
const TOOLS_CHANGED_INTERVAL_MS = 500;
/** A person who watches sees no more; a server may report thousands of steps. */
const PROGRESS_INTERVAL_MS = 200;
/** Some servers of 2025 never answer a request that comes before `initialize`. */
const MAX_PROBE_MS = 3_000;

/** How a server is reached. A further kind, such as `http`, is a further member. */
export type McpTransport = { readonly kind: 'stdio' } & GroupCommand;

export interface McpOptions {
  readonly transport: McpTransport;
  readonly limits?: Partial<StdioLimits>;
  /** Announced to the server. */
  readonly client: { readonly name: string; readonly version: string };
  readonly onStderr?: (line: string) => void;
  readonly onBadLine?: () => void;
  /** Reports each process as soon as it exists; its group has the same id. */
  readonly onSpawn?: (pid: number) => void;
  /** Ends what a process left outside its group, before the server counts as ended. */
  readonly onExit?: () => Promise<void>;
  /** At most twice a second, whatever the server sends. */
  readonly onToolsChanged?: () => void;
  /** Closes the server, whether it has started or not. */
  readonly signal?: AbortSignal;
  /** Ends it without the grace that a close gives. */
  readonly kill?: AbortSignal;
}

export interface Progress {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs: number;
  readonly traceparent?: string;
  /** Further fields of the request's _meta. */
  readonly meta?: Readonly<Record<string, unknown>>;
  /** Asks the server for progress notifications; called a few times a second at most. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface McpTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  /** The tool can only be called as a task, which this client does not support. */
  readonly needsTask: boolean;
}

type Params = Readonly<Record<string, unknown>>;

/** A connected MCP server. Every failure is a ZlError. */
export interface McpConnection {
  readonly serverVersion: string;
  /** The revision of MCP that was negotiated. */
  readonly protocolVersion: string;
  readonly pid: number | undefined;
  /** Asks the server each time; bounded in tools and pages. */
  listTools(): Promise<readonly McpTool[]>;
  /** Sends one MCP request; the result is as the server gave it. */
  request(method: string, params: Params, options: RequestOptions): Promise<object>;
  /** Rejects unless the server answers within the time. */
  ping(timeoutMs: number): Promise<void>;
  /** Settles once no process is left; with an error unless close() was the reason. */
  readonly closed: Promise<CloseReason>;
  close(): Promise<void>;
  /** Kills at once; requests in flight fail with this error. */
  fail(error: ZlError): void;
}

/** Starts the server and negotiates the protocol: the revision of 2026, or `initialize` of 2025. */
export async function connectMcp(options: McpOptions): Promise<McpConnection> {
  const first = open(options);
  try {
    return await first.handshake('auto');
  } catch (error) {
    if (!first.endedUnheard || options.signal?.aborted) throw error;
  }
  // Some servers of 2025 exit on a request that comes before `initialize`.
  return await open(options).handshake('legacy');
}

function open(options: McpOptions): StdioConnection {
  options.signal?.throwIfAborted();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const transport = new StdioTransport({
    ...options.transport,
    limits,
    onStderr: options.onStderr ?? (() => {}),
    onBadLine: options.onBadLine ?? (() => {}),
    onSpawn: options.onSpawn,
    onExit: options.onExit,
  });
  return new StdioConnection(options, transport, limits);
}

class StdioConnection implements McpConnection {
  readonly #transport: StdioTransport;
  readonly #limits: StdioLimits;
  readonly #changes: Throttle<void>;
  readonly #client: Client;

  constructor(options: McpOptions, transport: StdioTransport, limits: StdioLimits) {
    this.#transport = transport;
    this.#limits = limits;
    this.#changes = new Throttle(() => options.onToolsChanged?.(), TOOLS_CHANGED_INTERVAL_MS);
    const onChanged = () => this.#changes.push();
    this.#client = new Client(options.client, {
      // Nobody is there to answer what a server asks of the user.
      inputRequired: { autoFulfill: false },
      listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged } },
    });
    this.#endWith(options.signal, () => void transport.close());
    this.#endWith(options.kill, () => this.fail(new ZlError('tool.server_down', 'it was ended')));
    void transport.gone.then(() => this.#changes.stop());
  }

  /** The process ran and ended without a single message. */
  get endedUnheard(): boolean {
    const { failure, pid, hasAnswered } = this.#transport;
    return failure?.id === 'tool.server_down' && pid !== undefined && !hasAnswered;
  }

  get serverVersion(): string {
    // Both ends decide policy by it, so it is cut once, here.
    return (this.#client.getServerVersion()?.version ?? '').slice(0, 64).toWellFormed();
  }

  get protocolVersion(): string {
    return this.#client.getNegotiatedProtocolVersion() ?? '';
  }

  get pid(): number | undefined {
    return this.#transport.pid;
  }

  get closed(): Promise<CloseReason> {
    return this.#transport.gone;
  }

  async handshake(mode: 'auto' | 'legacy'): Promise<this> {
    const timeoutMs = this.#limits.startTimeoutMs;
    const probe = { timeoutMs: Math.min(MAX_PROBE_MS, timeoutMs / 3) };
    this.#client.setVersionNegotiation({ mode, probe });
    try {
      await this.#client.connect(this.#transport, { timeout: timeoutMs });
      return this;
    } catch (error) {
      await this.#transport.close();
      throw this.#transport.failure ?? mcpError(error, { timeoutMs });
    }
  }

  async listTools(): Promise<readonly McpTool[]> {
    if (this.#client.getServerCapabilities()?.tools === undefined) return [];
    const { startTimeoutMs: timeoutMs, maxTools } = this.#limits;
    const tools: McpTool[] = [];
    let cursor: string | undefined;
    // A page of a well-behaved server holds at least one tool, so the pages are bounded too.
    for (let page = 0; page <= maxTools; page++) {
      const params = cursor === undefined ? {} : { cursor };
      const result = readToolPage(await this.#listPage(params, timeoutMs));
      if (tools.length + result.tools.length > maxTools) break;
      tools.push(...result.tools);
      cursor = result.nextCursor;
      if (cursor === undefined) return tools;
    }
    throw new ZlError('tool.server_protocol', `more than ${maxTools} tools`);
  }

  async #listPage(params: Params, timeoutMs: number): Promise<object> {
    try {
      return await this.request('tools/list', params, { timeoutMs });
    } catch (error) {
      // No call asked for it, so no cap of a call helps.
      const { id, message } = fromUnknown(error);
      throw id === 'tool.result_too_large' ? invalidList(message) : error;
    }
  }

  async request(method: string, params: Params, options: RequestOptions): Promise<object> {
    const { signal, timeoutMs: timeout, onProgress } = options;
    const progress = onProgress && new Throttle(onProgress, PROGRESS_INTERVAL_MS);
    try {
      const request = { method, params: withMeta(params, options) };
      const result = await this.#client.request(request, AS_GIVEN, {
        timeout,
        ...(signal === undefined ? {} : { signal }),
        ...(progress === undefined ? {} : { onprogress: (step) => progress.push(step) }),
      });
      progress?.flush();
      return result;
    } catch (error) {
      throw this.#transport.failure ?? mcpError(error, options);
    } finally {
      progress?.stop();
    }
  }

  async ping(timeoutMs: number): Promise<void> {
    // The revision of 2026 has no ping.
    const isModern = this.#client.getProtocolEra() === 'modern';
    await this.request(isModern ? 'server/discover' : 'ping', {}, { timeoutMs });
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  fail(error: ZlError): void {
    this.#transport.fail(error);
  }

  #endWith(signal: AbortSignal | undefined, end: () => void): void {
    signal?.addEventListener('abort', end, { once: true });
    void this.#transport.gone.then(() => signal?.removeEventListener('abort', end));
  }
}

/** Results go on as canonical bytes and are checked by the tool's contract, so they are not parsed here. */
const AS_GIVEN: StandardSchemaV1<unknown, object> = {
  '~standard': {
    version: 1,
    vendor: 'zerolatency',
    validate: (value) => (isObject(value) ? { value } : { issues: [{ message: 'not an object' }] }),
  },
};

function withMeta(params: Params, { traceparent, meta }: RequestOptions): Params {
  if (!traceparent && meta === undefined) return params;
  const given = typeof params._meta === 'object' ? params._meta : {};
  return { ...params, _meta: { ...given, ...meta, ...(traceparent ? { traceparent } : {}) } };
}

function readToolPage(result: object) {
  if (!('tools' in result) || !Array.isArray(result.tools)) throw invalidList('it has no tools');
  const nextCursor = 'nextCursor' in result ? result.nextCursor : undefined;
  if (nextCursor !== undefined && typeof nextCursor !== 'string') throw invalidList('its cursor');
  return { tools: result.tools.map(readTool), nextCursor };
}

function readTool(value: unknown): McpTool {
  if (!isObject(value) || typeof value.name !== 'string') throw invalidList('a tool has no name');
  const { name, description = '', inputSchema, execution } = value;
  if (typeof description !== 'string' || !isObject(inputSchema)) {
    throw invalidList(`the tool ${name.slice(0, 128)} is incomplete`);
  }
  const needsTask = isObject(execution) && execution.taskSupport === 'required';
  return { name, description, inputSchema, needsTask };
}

function invalidList(why: string): ZlError {
  return new ZlError('tool.server_protocol', `the list of tools is not valid MCP: ${why}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Translates what the MCP client rejects with into an error of the catalogue. */
function mcpError(
  cause: unknown,
  { signal, timeoutMs }: Pick<RequestOptions, 'signal' | 'timeoutMs'>,
): ZlError {
  if (cause instanceof ZlError) return cause;
  if (signal?.aborted) {
    if (signal.reason instanceof ZlError) return signal.reason;
    return new ZlError('call.cancelled', 'the call was cancelled', { cause });
  }
  // The negotiation wraps what our transport rejected with.
  if (cause instanceof SdkError && cause.cause instanceof ZlError) return cause.cause;
  if (cause instanceof SdkError) return fromSdkError(cause, timeoutMs);
  if (cause instanceof ProtocolError) return fromProtocolError(cause);
  if (cause instanceof Error && cause.message === 'Not connected') {
    return new ZlError('tool.server_down', 'the server is not running', { cause });
  }
  return new ZlError('tool.server_protocol', 'the answer is not valid MCP', { cause });
}

function fromSdkError(cause: SdkError, timeoutMs: number): ZlError {
  switch (cause.code) {
    case SdkErrorCode.ConnectionClosed:
    case SdkErrorCode.NotConnected:
      return new ZlError('tool.server_down', 'the server ended during the call', { cause });
    case SdkErrorCode.RequestTimeout:
      return new ZlError('tool.timeout', `no answer within ${timeoutMs} ms`, { cause });
    case SdkErrorCode.UnsupportedResultType:
    case SdkErrorCode.CapabilityNotSupported:
      return new ZlError('tool.failed', 'the tool asks for input that cannot be given', { cause });
    default:
      return new ZlError('tool.server_protocol', 'the answer is not valid MCP', { cause });
  }
}

function fromProtocolError(cause: ProtocolError): ZlError {
  // Our transport's own words for an answer it could not read.
  if (cause.data instanceof ZlError) return cause.data;
  switch (cause.code) {
    case ProtocolErrorCode.MethodNotFound:
      return new ZlError('tool.unknown', cause.message, { cause });
    case ProtocolErrorCode.InvalidParams:
      return new ZlError('tool.arguments_invalid', cause.message, { cause });
    default:
      return new ZlError('tool.failed', cause.message, { cause });
  }
}
