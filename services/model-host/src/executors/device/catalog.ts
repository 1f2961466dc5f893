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
import {
  Containment,
  Effects,
  type Server,
  ServerState,
  type Tool,
} from '@zerolatency/proto/bridge';
import { foreignText } from '@zerolatency/redaction';
import { Bucket } from '@zerolatency/service/network';
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
/**
 * Characters of new schemas of one device: twice the largest catalog at once, and as many again in
 * ten minutes. Reading and compiling that many takes some four seconds of CPU.
 */
const NEW_SCHEMA_CHARS = { burst: 512 * 1024, perSecond: (512 * 1024) / 600 };
/** A catalog of which something was withheld for that reason is read again after this long. */
const REREAD_MS = 60_000;
const MAX_COUNTED_DEVICES = 10_000;
/** A log line should stay readable, and the names come from the device. */
const MAX_WITHHELD_SHOWN = 20;
const MAX_SHOWN_CHARS = 200;

interface Reading {
  /** Tells the devices of all tenants apart. */
  readonly device: string;
  readonly onWithheld?: OnWithheld | undefined;
}

/** The tools in the catalogs of devices, each catalog read once and each schema prepared once. */
export class DeviceCatalogs {
  readonly #contracts: ToolContracts;
  readonly #nowMs: () => number;
  readonly #catalogs = new WeakMap<readonly Server[], ReadCatalog>();
  readonly #newSchemas = new LRUCache<string, Bucket>({ max: MAX_COUNTED_DEVICES });
  readonly #schemas = new LRUCache<string, CatalogSchema | RefusedSchema>({
    maxSize: MAX_KEPT_SCHEMA_CHARS,
  });

  constructor(contracts: ToolContracts, nowMs = () => performance.now()) {
    this.#contracts = contracts;
    this.#nowMs = nowMs;
  }

  /** Reports what it withholds when it reads a catalog. */
  read(servers: readonly Server[], { device, onWithheld }: Reading): CatalogTools {
    const known = this.#catalogs.get(servers);
    const nowMs = this.#nowMs();
    if (known !== undefined && nowMs < known.untilMs) return known.tools;
    const newSchemas = this.#newSchemas.get(device) ?? new Bucket(NEW_SCHEMA_CHARS, nowMs);
    this.#newSchemas.set(device, newSchemas);
    const catalog: Catalog = {
      ...{ tools: new Map(), patternsSize: 0, isThrottled: false },
      admit: (chars) => newSchemas.take(nowMs, chars),
    };
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
    const { tools, isThrottled } = catalog;
    const untilMs = isThrottled ? nowMs + REREAD_MS : Number.POSITIVE_INFINITY;
    this.#catalogs.set(servers, { tools, untilMs });
    return tools;
  }

  /** Returns why the tool is withheld. */
  #add(catalog: Catalog, server: Server, tool: Tool): string | undefined {
    const name = `${server.name}.${tool.name}`;
    const { error } = parseNames(server.name, tool.name);
    if (error !== undefined) return error;
    if (catalog.tools.has(name)) return 'the catalog has a tool of this name already';
    if (catalog.tools.size >= MAX_TOOLS) return `the catalog has more than ${MAX_TOOLS} tools`;
    if (catalog.patternsSize > MAX_PATTERNS_SIZE) return 'the catalog has too many patterns';
    const { contract, ...facts } = factsOf(this.#contracts, server, tool);
    const schema = contract === undefined ? this.#schemaOf(catalog, tool) : schemaOf(contract);
    if (schema === undefined) {
      catalog.isThrottled = true;
      return 'its device changes the schemas of its tools too often; more of them are read in ten minutes';
    }
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
      pathBases: pathBasesOf(tool, contract),
      isReady: server.state === ServerState.READY,
      ...facts,
      args: schema.validator,
      result: contract?.result,
    });
    return undefined;
  }

  /** Undefined when the device may offer no more new ones now. */
  #schemaOf(
    { admit }: Catalog,
    { inputSchemaJson: text }: Tool,
  ): CatalogSchema | RefusedSchema | undefined {
    const digest = hash('sha256', text, 'base64');
    const known = this.#schemas.get(digest);
    if (known !== undefined) return known;
    if (!admit(text.length)) return undefined;
    const schema = readSchema(text);
    this.#schemas.set(digest, schema, { size: 1 + text.length });
    return schema;
  }
}

/** What the policy goes by, beside the names. */
export function factsOf(contracts: ToolContracts, server: Server, tool: Tool) {
  const version = server.version.slice(0, MAX_VERSION_CHARS).toWellFormed();
  const contract = contractOf(contracts, `${server.name}.${tool.name}`, version);
  return { contract, version, ...effectsOf(tool, contract), inSandbox: isSandboxed(server) };
}

/** The contract of the server's major version, or else the newest one. */
function contractOf(contracts: ToolContracts, name: string, version: string) {
  const major = /^(\d{1,6})\./.exec(version)?.[1];
  const named = major === undefined ? undefined : contracts.find(name, Number(major));
  return named ?? contracts.find(name);
}

function effectsOf({ effects }: Tool, contract: ToolContract | undefined) {
  const isSaid = effects !== Effects.UNSPECIFIED;
  const promised = contract && contract.manifest.effects !== 'none';
  const statedEffects = isSaid ? effects !== Effects.NONE : promised;
  // Without a promise a tool may have any effect, and a device may break one.
  return { statedEffects, hasEffects: promised !== false || statedEffects !== false };
}

function isSandboxed({ containment }: Server): boolean | undefined {
  return containment === Containment.UNSPECIFIED ? undefined : containment === Containment.SANDBOX;
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

interface ReadCatalog {
  readonly tools: CatalogTools;
  /** When it is to be read again. */
  readonly untilMs: number;
}

/** One that is being read. */
interface Catalog {
  readonly tools: Map<string, ExecutorTool>;
  /** Whether the device may offer a new schema of this length. */
  readonly admit: (chars: number) => boolean;
  patternsSize: number;
  isThrottled: boolean;
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
