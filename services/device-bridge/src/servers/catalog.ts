import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Catalog,
  CatalogSchema,
  type ServerSchema,
  ServerState,
} from '@zerolatency/proto/bridge';
import type { ManagedServer } from './managed-server.ts';
import type { OfferedTool } from './offered-tools.ts';

/** Under what a relay takes by default (devices.maxCatalog), with room for the other fields. */
const maxCatalogBytes = 240 * 1024;

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
      version: ready?.connection.serverVersion ?? '',
      state: states[state.name],
      tools: [...(ready?.tools.values() ?? [])].filter(fits),
    };
  });
  return create(CatalogSchema, { servers: told });
}
