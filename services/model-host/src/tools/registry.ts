import {
  compileSchema,
  type ToolContract,
  type ToolContracts,
  type Validator,
} from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { type Server, ServerState, type Tool } from '@zerolatency/proto/bridge';
import type { ToolDefinition } from '../ports.ts';

/** A tool that a device offers, as this host knows it. */
export interface RegisteredTool {
  readonly definition: ToolDefinition;
  /** Name of the MCP server on the device. */
  readonly server: string;
  /** The tool's name there. */
  readonly method: string;
  /** What its MCP server says, as the device goes by when it decides; empty when it says nothing. */
  readonly version: string;
  /** Its server runs: the model may be told of it. */
  readonly offered: boolean;
  /** Whether a call must be on disk before it is sent. */
  readonly hasEffects: boolean;
  /** Compiled when it is first needed, as most tools of a catalog are never called. */
  args(): Validator | { error: ZlError };
  readonly result: Validator | undefined;
}

export type RegisteredTools = ReadonlyMap<string, RegisteredTool>;

/** A model cannot choose among more, and their definitions cost tokens in each request. */
const MAX_TOOLS = 512;
const MAX_DESCRIPTION_CHARS = 4096;
const MAX_VERSION_CHARS = 64;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** The tools of device catalogs, each catalog read once. */
export class ToolRegistry {
  readonly #contracts: ToolContracts;
  readonly #catalogs = new WeakMap<readonly Server[], RegisteredTools>();

  constructor(contracts: ToolContracts) {
    this.#contracts = contracts;
  }

  of(servers: readonly Server[]): RegisteredTools {
    const known = this.#catalogs.get(servers);
    if (known !== undefined) return known;
    const tools = new Map<string, RegisteredTool>();
    for (const server of servers) {
      if (!NAME.test(server.name)) continue;
      for (const tool of server.tools) this.#add(tools, server, tool);
    }
    this.#catalogs.set(servers, tools);
    return tools;
  }

  #add(tools: Map<string, RegisteredTool>, server: Server, tool: Tool): void {
    const name = `${server.name}.${tool.name}`;
    if (!NAME.test(tool.name) || tools.has(name) || tools.size >= MAX_TOOLS) return;
    const version = server.version.slice(0, MAX_VERSION_CHARS).toWellFormed();
    const contract = this.#contractOf(name, version);
    const inputSchema = contract?.argsSchema ?? parseSchema(tool.inputSchemaJson);
    if (inputSchema === undefined) return;
    const description = contract?.manifest.description ?? tool.description;
    tools.set(name, {
      definition: { name, description: description.slice(0, MAX_DESCRIPTION_CHARS), inputSchema },
      server: server.name,
      method: tool.name,
      version,
      offered: server.state === ServerState.READY,
      // What nobody has promised to be without effects may have any.
      hasEffects: contract?.manifest.effects !== 'none',
      args: contract === undefined ? compileOnce(name, inputSchema) : argsOf(contract),
      result: contract?.result,
    });
  }

  /** Of the server's major version; the newest one holds for a server of none that we know. */
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
    // Only our own contracts are configuration; this one came with the device's catalog.
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
    // MCP servers name drafts whose schemas read the same in 2020-12 for what tools use.
    const { $schema: _, ...rest } = { $schema: undefined, ...schema };
    return rest;
  } catch {
    // A tool whose arguments are not described cannot be validated, so it is not offered.
    return undefined;
  }
}
