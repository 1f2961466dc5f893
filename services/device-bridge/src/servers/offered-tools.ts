import type { Tool } from '@modelcontextprotocol/sdk/types.js';
import { canonicalJson, sha256 } from '@zerolatency/signing';

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
