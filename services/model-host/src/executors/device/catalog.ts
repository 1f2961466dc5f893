import { hash } from 'node:crypto';
import {
  type PreparedSchema,
  prepareSchema,
  type ToolContract,
  type ToolContracts,
  type Validator,
} from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { parseName } from '@zerolatency/identity';
import { type Server, ServerState, type Tool } from '@zerolatency/proto/bridge';
import { foreignText } from '@zerolatency/redaction';
import { LRUCache } from 'lru-cache';
import type { ExecutorTool } from '../../calls/ports.ts';

export type CatalogTools = ReadonlyMap<string, ExecutorTool>;

/** A tool of a device that no model is offered. */
export interface WithheldTool {
  readonly name: string;
  readonly why: string;
}

type OnWithheld = (tools: readonly WithheldTool[], count: number) => void;

/** A model cannot choose among more, and their definitions cost tokens in each request. */
const MAX_TOOLS = 512;
const MAX_DESCRIPTION_CHARS = 4096;
const MAX_VERSION_CHARS = 64;
/** For all schemas of one catalog together: a tenth of a second. */
const MAX_PATTERNS_SIZE = 100_000;
/** How many patterns a schema had before it was refused is not known. */
const REFUSED_PATTERNS_SIZE = 2_500;
/** Devices of one fleet offer the same schemas. */
const MAX_KEPT_SCHEMA_CHARS = 16 * 1024 * 1024;
/** A log line should stay readable, and the names come from the device. */
const MAX_WITHHELD_SHOWN = 20;
const MAX_SHOWN_CHARS = 200;

/** The tools in the catalogs of devices, each catalog read once and each schema prepared once. */
export class DeviceCatalogs {
  readonly #contracts: ToolContracts;
  readonly #catalogs = new WeakMap<readonly Server[], CatalogTools>();
  readonly #schemas = new LRUCache<string, CatalogSchema | RefusedSchema>({
    maxSize: MAX_KEPT_SCHEMA_CHARS,
  });

  constructor(contracts: ToolContracts) {
    this.#contracts = contracts;
  }

  /** Reports what it withholds when it reads a catalog for the first time. */
  read(servers: readonly Server[], onWithheld?: OnWithheld): CatalogTools {
    const known = this.#catalogs.get(servers);
    if (known !== undefined) return known;
    const catalog: Catalog = { tools: new Map(), patternsSize: 0 };
    const shown: WithheldTool[] = [];
    let count = 0;
    for (const server of servers) {
      for (const tool of server.tools) {
        const why = this.#add(catalog, server, tool);
        if (why === undefined) continue;
        const name = `${server.name}.${tool.name}`.slice(0, MAX_SHOWN_CHARS);
        if (count++ < MAX_WITHHELD_SHOWN) shown.push({ name, why: why.slice(0, MAX_SHOWN_CHARS) });
      }
    }
    if (count > 0) onWithheld?.(shown, count);
    this.#catalogs.set(servers, catalog.tools);
    return catalog.tools;
  }

  /** Returns why the tool is withheld. */
  #add(catalog: Catalog, server: Server, tool: Tool): string | undefined {
    const name = `${server.name}.${tool.name}`;
    const { error } = parseNames(server.name, tool.name);
    if (error !== undefined) return error;
    if (catalog.tools.has(name)) return 'the catalog has a tool of this name already';
    if (catalog.tools.size >= MAX_TOOLS) return `the catalog has more than ${MAX_TOOLS} tools`;
    if (catalog.patternsSize > MAX_PATTERNS_SIZE) return 'the catalog has too many patterns';
    const version = server.version.slice(0, MAX_VERSION_CHARS).toWellFormed();
    const contract = this.#contractOf(name, version);
    const schema = contract === undefined ? this.#schemaOf(tool) : schemaOf(contract);
    catalog.patternsSize += schema.patternsSize;
    if ('why' in schema) return schema.why;
    const description = contract?.manifest.description ?? tool.description;
    catalog.tools.set(name, {
      definition: {
        name,
        // The model reads what a person sees, and no more.
        description: foreignText(description.slice(0, MAX_DESCRIPTION_CHARS)),
        inputSchema: schema.definition,
      },
      executor: 'device',
      server: server.name,
      toolName: tool.name,
      version,
      pathBases: pathBasesOf(tool, contract),
      isReady: server.state === ServerState.READY,
      // Without a promise a tool may have any effect.
      hasEffects: contract?.manifest.effects !== 'none',
      args: schema.validator,
      result: contract?.result,
    });
    return undefined;
  }

  #schemaOf({ inputSchemaJson: text }: Tool): CatalogSchema | RefusedSchema {
    const digest = hash('sha256', text, 'base64');
    const known = this.#schemas.get(digest);
    if (known !== undefined) return known;
    const schema = readSchema(text);
    this.#schemas.set(digest, schema, { size: 1 + text.length });
    return schema;
  }

  /** The contract of the server's major version, or else the newest one. */
  #contractOf(name: string, version: string): ToolContract | undefined {
    const major = /^(\d{1,6})\./.exec(version)?.[1];
    const named = major === undefined ? undefined : this.#contracts.find(name, Number(major));
    return named ?? this.#contracts.find(name);
  }
}

/** A device that names a folder for any other argument has no say. */
function pathBasesOf({ pathBases }: Tool, contract: ToolContract | undefined) {
  const named = contract?.manifest.paths ?? [];
  return new Map(
    named.flatMap((argument) => {
      const base = pathBases[argument];
      return base === undefined ? [] : [[argument, base] as const];
    }),
  );
}

interface Catalog {
  readonly tools: Map<string, ExecutorTool>;
  patternsSize: number;
}

interface CatalogSchema {
  /** As models see it. */
  readonly definition: unknown;
  readonly patternsSize: number;
  validator(): Validator | { error: ZlError };
}

interface RefusedSchema {
  readonly why: string;
  readonly patternsSize: number;
}

function parseNames(server: string, tool: string): { readonly error?: string | undefined } {
  const parsed = parseName('server', server);
  return parsed.error === undefined ? parseName('tool', tool) : parsed;
}

function schemaOf({ args, argsSchema }: ToolContract): CatalogSchema {
  return { definition: argsSchema, patternsSize: 0, validator: () => args };
}

/** Refuses here what could only fail at each call. */
function readSchema(text: string): CatalogSchema | RefusedSchema {
  const definition = parseSchema(text);
  if (definition === undefined) {
    return { why: 'its input schema is not a JSON object', patternsSize: 0 };
  }
  try {
    const prepared = prepareSchema(definition, 'catalog');
    return { definition, patternsSize: prepared.patternsSize, validator: compileOnce(prepared) };
  } catch (cause) {
    return { why: `its input ${messageOf(cause)}`, patternsSize: REFUSED_PATTERNS_SIZE };
  }
}

/** On the first call: compiling takes milliseconds, and most tools are never called. */
function compileOnce(prepared: PreparedSchema): CatalogSchema['validator'] {
  let compiled: Validator | { error: ZlError } | undefined;
  const compile = () => {
    try {
      return prepared.compile();
    } catch (cause) {
      // Our own contracts are configuration; this schema came with the device's catalog.
      return { error: new ZlError('tool.server_protocol', messageOf(cause), { cause }) };
    }
  };
  return () => {
    compiled ??= compile();
    return compiled;
  };
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
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
