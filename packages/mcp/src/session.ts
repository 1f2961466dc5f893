import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  ListToolsResultSchema,
  ResultSchema,
  type Tool,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { ZlError } from '@zerolatency/errors';
import { Bell } from './bell.ts';
import { callError } from './call-error.ts';
import { defaultLimits, type StdioLimits } from './limits.ts';
import type { GroupCommand } from './process-group.ts';
import { type CloseReason, StdioTransport } from './stdio-transport.ts';

/** Each telling asks for the whole list anew, and tells it to the relay. */
const changesEveryMs = 500;

export interface StdioServer extends GroupCommand {
  /** As the manifest names it. */
  readonly name: string;
  readonly limits?: Partial<StdioLimits>;
  /** Tells the server who connects. */
  readonly client: { readonly name: string; readonly version: string };
  readonly onStderr?: (line: string) => void;
  readonly onBadLine?: () => void;
  /** As soon as there is a process, whose group has the same id. */
  readonly onSpawn?: (pid: number) => void;
  /** At most twice a second, whatever the server says. */
  readonly onToolsChanged?: () => void;
  /** Closes the server, whether it has started or not. */
  readonly signal?: AbortSignal;
  /** Ends it without the grace that a close gives. */
  readonly kill?: AbortSignal;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs: number;
  readonly traceparent?: string;
  /** Further fields of the request's _meta. */
  readonly meta?: Readonly<Record<string, unknown>>;
}

type Params = Readonly<Record<string, unknown>>;

/** A running MCP server. Every failure of it is a ZlError. */
export interface McpSession {
  readonly serverVersion: string;
  readonly pid: number | undefined;
  /** Asks anew; bounded in number and in pages. */
  listTools(): Promise<readonly Tool[]>;
  /** One MCP request and its result as the server gave it. */
  call(method: string, params: Params, options: CallOptions): Promise<object>;
  /** Settles once no process is left; with an error unless close() was the reason. */
  readonly closed: Promise<CloseReason>;
  close(): Promise<void>;
  /** Kills at once; calls in flight fail with this error. */
  fail(error: ZlError): void;
}

/** Starts the server and completes the MCP handshake. */
export async function startStdioServer(server: StdioServer): Promise<McpSession> {
  const limits = { ...defaultLimits, ...server.limits };
  const transport = new StdioTransport({
    ...server,
    limits,
    onStderr: server.onStderr ?? (() => {}),
    onBadLine: server.onBadLine ?? (() => {}),
  });
  server.signal?.throwIfAborted();
  const changes = new Bell(() => server.onToolsChanged?.(), changesEveryMs);
  const stop = () => void transport.close();
  const kill = () => transport.fail(new ZlError('tool.server_down', 'the server was ended'));
  server.signal?.addEventListener('abort', stop, { once: true });
  server.kill?.addEventListener('abort', kill, { once: true });
  void transport.gone.then(() => {
    server.signal?.removeEventListener('abort', stop);
    server.kill?.removeEventListener('abort', kill);
    changes.silence();
  });
  const client = new Client(server.client, { capabilities: {} });
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => changes.pull());
  try {
    await client.connect(transport, { timeout: limits.startTimeoutMs });
  } catch (error) {
    await transport.close();
    throw transport.failure ?? callError(error, { timeoutMs: limits.startTimeoutMs });
  }
  return new StdioSession(client, transport, limits);
}

class StdioSession implements McpSession {
  readonly #client: Client;
  readonly #transport: StdioTransport;
  readonly #limits: StdioLimits;

  constructor(client: Client, transport: StdioTransport, limits: StdioLimits) {
    this.#client = client;
    this.#transport = transport;
    this.#limits = limits;
  }

  get serverVersion(): string {
    // Policies decide by it at both ends, so it is cut here, once.
    return (this.#client.getServerVersion()?.version ?? '').slice(0, 64).toWellFormed();
  }

  get pid(): number | undefined {
    return this.#transport.pid;
  }

  get closed(): Promise<CloseReason> {
    return this.#transport.gone;
  }

  async listTools(): Promise<readonly Tool[]> {
    if (this.#client.getServerCapabilities()?.tools === undefined) return [];
    const tools: Tool[] = [];
    let cursor: string | undefined;
    // A page of a well-behaved server holds at least one tool, so the pages are bounded too.
    for (let page = 0; page <= this.#limits.maxTools; page++) {
      const params = cursor === undefined ? {} : { cursor };
      const result = await this.#list(params);
      tools.push(...result.tools);
      cursor = result.nextCursor;
      if (tools.length > this.#limits.maxTools) break;
      if (cursor === undefined) return tools;
    }
    throw new ZlError('tool.server_protocol', `more than ${this.#limits.maxTools} tools`);
  }

  async call(method: string, params: Params, options: CallOptions): Promise<object> {
    const { signal, timeoutMs: timeout } = options;
    const request = { method, params: withMeta(params, options) };
    try {
      return await this.#client.request(request, ResultSchema, {
        timeout,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw this.#transport.failure ?? callError(error, options);
    }
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  fail(error: ZlError): void {
    this.#transport.fail(error);
  }

  async #list(params: Params) {
    const timeout = this.#limits.startTimeoutMs;
    try {
      return await this.#client.request({ method: 'tools/list', params }, ListToolsResultSchema, {
        timeout,
      });
    } catch (error) {
      throw this.#transport.failure ?? callError(error, { timeoutMs: timeout });
    }
  }
}

function withMeta(params: Params, { traceparent, meta }: CallOptions): Params {
  if (!traceparent && meta === undefined) return params;
  const given = typeof params._meta === 'object' ? params._meta : {};
  return { ...params, _meta: { ...given, ...meta, ...(traceparent ? { traceparent } : {}) } };
}
