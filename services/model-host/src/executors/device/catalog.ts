import {
  compileSchema,
  type ToolContract,
  type ToolContracts,
  type Validator,
} from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { parseName } from '@zerolatency/identity';
import { type Server, ServerState, type Tool } from '@zerolatency/proto/bridge';
import type { ExecutorTool } from '../../calls/executor.ts';

export type CatalogTools = ReadonlyMap<string, ExecutorTool>;

/** A model cannot choose among more, and their definitions cost tokens in each request. */
const MAX_TOOLS = 512;
const MAX_DESCRIPTION_CHARS = 4096;
const MAX_VERSION_CHARS = 64;

/** The tools in the catalogs of devices, each catalog read once. */
export class DeviceCatalogs {
  readonly #contracts: ToolContracts;
  readonly #catalogs = new WeakMap<readonly Server[], CatalogTools>();

  constructor(contracts: ToolContracts) {
    this.#contracts = contracts;
  }

  read(servers: readonly Server[]): CatalogTools {
    const known = this.#catalogs.get(servers);
    if (known !== undefined) return known;
    const tools = new Map<string, ExecutorTool>();
    for (const server of servers) {
      if (parseName('server', server.name).error !== undefined) continue;
      for (const tool of server.tools) this.#add(tools, server, tool);
    }
    this.#catalogs.set(servers, tools);
    return tools;
  }

  #add(tools: Map<string, ExecutorTool>, server: Server, tool: Tool): void {
    const name = `${server.name}.${tool.name}`;
    if (parseName('tool', tool.name).error !== undefined) return;
    if (tools.has(name) || tools.size >= MAX_TOOLS) return;
    const version = server.version.slice(0, MAX_VERSION_CHARS).toWellFormed();
    const contract = this.#contractOf(name, version);
    const inputSchema = contract?.argsSchema ?? parseSchema(tool.inputSchemaJson);
    if (inputSchema === undefined) return;
    const description = contract?.manifest.description ?? tool.description;
    tools.set(name, {
      definition: { name, description: description.slice(0, MAX_DESCRIPTION_CHARS), inputSchema },
      executor: 'device',
      server: server.name,
      toolName: tool.name,
      version,
      isReady: server.state === ServerState.READY,
      // Without a promise a tool may have any effect.
      hasEffects: contract?.manifest.effects !== 'none',
      args: contract === undefined ? compileOnce(name, inputSchema) : argsOf(contract),
      result: contract?.result,
    });
  }

  /** The contract of the server's major version, or else the newest one. */
  #contractOf(name: string, version: string): ToolContract | undefined {
    const major = /^(\d{1,6})\./.exec(version)?.[1];
    const named = major === undefined ? undefined : this.#contracts.find(name, Number(major));
    return named ?? this.#contracts.find(name);
  }
}

function argsOf(contract: ToolContract): () => Validator {
  return () => contract.args;
}

function compileOnce(name: string, schema: object): () => Validator | { error: ZlError } {
  let compiled: Validator | { error: ZlError } | undefined;
  return () => {
    compiled ??= compile(name, schema);
    return compiled;
  };
}

function compile(name: string, schema: object): Validator | { error: ZlError } {
  try {
    return compileSchema(schema, 'catalog');
  } catch (cause) {
    // Our own contracts are configuration; this schema came with the device's catalog.
    const why = cause instanceof Error ? cause.message : 'it cannot be compiled';
    return {
      error: new ZlError('tool.server_protocol', `input schema of ${name}: ${why}`, { cause }),
    };
  }
}

function parseSchema(text: string): object | undefined {
  try {
    const schema: unknown = JSON.parse(text);
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return undefined;
    // For what tools use, the drafts that MCP servers name read the same in 2020-12.
    const { $schema: _, ...rest } = { $schema: undefined, ...schema };
    return rest;
  } catch {
    // Without a schema the arguments cannot be validated, so the tool is not offered.
    return undefined;
  }
}
