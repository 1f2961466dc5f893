import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { canonicalJson, sha256 } from '@zerolatency/contracts';
import {
  type Catalog,
  CatalogSchema,
  type ServerSchema,
  ServerState,
} from '@zerolatency/proto/bridge';
import type { ManagedServer } from './managed-server.ts';

/** A tool as the catalog tells it. */
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

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
/** Descriptions go into every prompt; one this long is a mistake or an attack. */
const maxDescriptionBytes = 8 * 1024;
const maxSchemaBytes = 32 * 1024;
/** Under what a relay takes by default (devices.maxCatalog), with room for the other fields. */
const maxCatalogBytes = 240 * 1024;

/** Of what a server lists, what is fit to be told. A tool is left out whole: cut, it would be another tool. */
export function offeredTools(tools: readonly Tool[]) {
  const offered = new Map<string, OfferedTool>();
  const refused: RefusedTool[] = [];
  for (const tool of tools) {
    const why = offered.has(tool.name) ? 'its name is taken' : addTool(offered, tool);
    if (why !== undefined) refused.push({ tool: tool.name.slice(0, 128), why });
  }
  return { tools: offered, refused };
}

function addTool(offered: Map<string, OfferedTool>, tool: Tool): string | undefined {
  const { name, description = '', inputSchema } = tool;
  if (!namePattern.test(name)) return 'its name is not a tool name';
  if (Buffer.byteLength(description) > maxDescriptionBytes) return 'its description is too long';
  const schema = Buffer.from(canonicalJson(inputSchema));
  if (schema.length > maxSchemaBytes) return 'its input schema is too long';
  const digest = sha256(canonicalJson({ name, description, inputSchema }));
  offered.set(name, { name, description, inputSchemaJson: schema.toString('utf8'), digest });
  return undefined;
}

const states = {
  starting: ServerState.STARTING,
  ready: ServerState.READY,
  failed: ServerState.FAILED,
  // It makes way for another of its name, which is all that the relay needs to know.
  draining: ServerState.STARTING,
  stopped: ServerState.FAILED,
} as const;

/** What the device says it offers now; tools beyond the bound are left out. */
export function catalogOf(servers: Iterable<ManagedServer>): Catalog {
  let bytes = 0;
  const fits = (tool: OfferedTool) => {
    bytes += tool.name.length + Buffer.byteLength(tool.description) + tool.inputSchemaJson.length;
    bytes += tool.digest.length + 32;
    return bytes <= maxCatalogBytes;
  };
  const told = [...servers].map(({ spec, state }): MessageInitShape<typeof ServerSchema> => {
    const ready = state.name === 'ready' ? state : undefined;
    return {
      name: spec.name,
      version: ready?.session.serverVersion ?? '',
      state: states[state.name],
      tools: [...(ready?.tools.values() ?? [])].filter(fits),
    };
  });
  return create(CatalogSchema, { servers: told });
}
