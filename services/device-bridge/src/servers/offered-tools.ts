import type { McpTool } from '@zerolatency/mcp';
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
  if (!namePattern.test(name)) return 'its name is not a tool name';
  if (needsTask) return 'it can only be called as a task';
  if (Buffer.byteLength(description) > maxDescriptionBytes) return 'its description is too long';
  const schema = Buffer.from(canonicalJson(inputSchema));
  if (schema.length > maxSchemaBytes) return 'its input schema is too long';
  const digest = sha256(canonicalJson({ name, description, inputSchema }));
  offered.set(name, { name, description, inputSchemaJson: schema.toString('utf8'), digest });
  return undefined;
}
