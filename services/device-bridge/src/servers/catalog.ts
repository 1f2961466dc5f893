import { create } from '@bufbuild/protobuf';
import { parseName } from '@zerolatency/identity';
import type { McpTool } from '@zerolatency/mcp';
import {
  type Catalog,
  CatalogSchema,
  Containment,
  Effects,
  ServerState,
} from '@zerolatency/proto/bridge';
import { canonicalJson, sha256 } from '@zerolatency/signing';
import type { ContainmentKind } from '../sandbox/containment.ts';
import type { ManagedServer } from './managed-server.ts';

/** Below a relay's default bound (devices.maxCatalog), with room for the other fields. */
const MAX_CATALOG_BYTES = 240 * 1024;

const STATES = {
  starting: ServerState.STARTING,
  ready: ServerState.READY,
  failed: ServerState.FAILED,
  // A draining server in the catalog will be replaced by one of the same name.
  draining: ServerState.STARTING,
  stopped: ServerState.FAILED,
} as const;

const CONTAINMENTS = {
  sandbox: Containment.SANDBOX,
  cgroup: Containment.CGROUP,
  'process group': Containment.PROCESS_GROUP,
} as const satisfies Record<ContainmentKind, Containment>;

const EFFECTS = {
  none: Effects.NONE,
  local: Effects.LOCAL,
  external: Effects.EXTERNAL,
} as const;

/**
 * What the device offers now. Tools beyond the bound are left out, first those of servers that
 * offer most: no server can take the room of another.
 */
export function catalogOf(servers: Iterable<ManagedServer>): Catalog {
  const listed = [...servers].map(listing);
  let leftBytes = MAX_CATALOG_BYTES;
  const smallestFirst = listed.toSorted((a, b) => bytesOf(a.tools) - bytesOf(b.tools));
  for (const [at, server] of smallestFirst.entries()) {
    const shareBytes = leftBytes / (listed.length - at);
    let bytes = 0;
    server.tools = server.tools.filter((tool) => {
      bytes += bytesOf([tool]);
      return bytes <= shareBytes;
    });
    leftBytes -= bytesOf(server.tools);
  }
  return create(CatalogSchema, { servers: listed });
}

interface ListedTool extends OfferedTool {
  readonly pathBases: Readonly<Record<string, string>>;
  readonly effects: Effects;
}

function listing(server: ManagedServer) {
  const { spec, state } = server;
  const ready = state.name === 'ready' ? state : undefined;
  const tools = [...(ready?.tools.values() ?? [])].map((tool): ListedTool => {
    const effects = EFFECTS[server.effects(tool.name)];
    return { ...tool, pathBases: server.pathBases(tool.name), effects };
  });
  const version = ready?.connection.serverVersion ?? '';
  const containment = ready ? CONTAINMENTS[ready.containment] : Containment.UNSPECIFIED;
  const isUnpinned = 'unpinned' in spec;
  return { name: spec.name, version, state: STATES[state.name], tools, containment, isUnpinned };
}

function bytesOf(tools: readonly ListedTool[]): number {
  let bytes = 0;
  for (const { name, description, inputSchemaJson, digest, pathBases } of tools) {
    const texts = [name, description, inputSchemaJson, ...Object.entries(pathBases).flat()];
    for (const text of texts) bytes += Buffer.byteLength(text);
    bytes += digest.length + 32;
  }
  return bytes;
}

/** A tool as listed in the catalog. */
export interface OfferedTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchemaJson: string;
  readonly digest: Uint8Array;
}

interface RefusedTool {
  readonly tool: string;
  readonly why: string;
}

/** Descriptions go into every prompt; a longer one is a mistake or an attack. */
const MAX_DESCRIPTION_BYTES = 8 * 1024;
const MAX_SCHEMA_BYTES = 32 * 1024;

/** Sorts out what can be offered. A tool is refused whole: cut short, it would be another tool. */
export function offeredTools(tools: readonly McpTool[]) {
  const offered = new Map<string, OfferedTool>();
  const refused: RefusedTool[] = [];
  for (const tool of tools) {
    const why = offered.has(tool.name) ? 'its name is taken' : addTool(offered, tool);
    if (why !== undefined) refused.push({ tool: tool.name.slice(0, 128), why });
  }
  return { tools: offered, refused };
}

function addTool(offered: Map<string, OfferedTool>, tool: McpTool): string | undefined {
  const { name, description, inputSchema, needsTask } = tool;
  const { error } = parseName('tool', name);
  if (error !== undefined) return `its name ${error}`;
  if (needsTask) return 'it can only be called as a task';
  if (Buffer.byteLength(description) > MAX_DESCRIPTION_BYTES) return 'its description is too long';
  const schema = Buffer.from(canonicalJson(inputSchema));
  if (schema.length > MAX_SCHEMA_BYTES) return 'its input schema is too long';
  const digest = sha256(canonicalJson({ name, description, inputSchema }));
  offered.set(name, { name, description, inputSchemaJson: schema.toString('utf8'), digest });
  return undefined;
}
