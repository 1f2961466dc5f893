// The built-in MCP server `fs`: node fs-server.ts --root DIR [--root DIR] [--max-bytes N]
import { parseArgs } from 'node:util';
import {
  type JSONObject,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type Tool,
} from '@modelcontextprotocol/server';
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { ZlError } from '@zerolatency/errors';
import argsSchema from '../../../../../contracts/tools/fs.read/v1/args.schema.json' with {
  type: 'json',
};
import manifest from '../../../../../contracts/tools/fs.read/v1/manifest.json' with {
  type: 'json',
};
import resultSchema from '../../../../../contracts/tools/fs.read/v1/result.schema.json' with {
  type: 'json',
};
import { callRead, MAX_BYTES_META } from './read-tool.ts';
import { openRoots } from './roots.ts';

const DEFAULT_MAX_BYTES = 1024 * 1024;

/** contracts/tools/fs.read/v1 in the form of MCP. */
const READ_TOOL = {
  name: 'read',
  description: manifest.description,
  inputSchema: embedded(argsSchema),
  outputSchema: embedded(resultSchema),
  annotations: { readOnlyHint: true, openWorldHint: false },
} satisfies Tool;

const { values } = parseArgs({
  options: {
    root: { type: 'string', multiple: true, default: [] },
    'max-bytes': { type: 'string', default: String(DEFAULT_MAX_BYTES) },
  },
});
const roots = openRoots(values.root);
const maxBytes = positive('--max-bytes', values['max-bytes']);

const server = new Server(
  { name: 'fs', version: manifest.version },
  { capabilities: { tools: {} } },
);
server.setRequestHandler('tools/list', () => ({ tools: [READ_TOOL] }));
server.setRequestHandler('tools/call', ({ params }, { mcpReq }) => {
  if (params.name !== READ_TOOL.name) {
    throw new ProtocolError(ProtocolErrorCode.MethodNotFound, `no tool ${params.name}`);
  }
  const asked = mcpReq._meta?.[MAX_BYTES_META];
  const maxResultBytes = isPositive(asked) ? asked : Number.MAX_SAFE_INTEGER;
  return callRead(roots, params.arguments ?? {}, { maxBytes, maxResultBytes });
});
// The protocol of 2025: that of 2026 checks an envelope in each request, for half as much time again.
await server.connect(new StdioServerTransport());

function positive(name: string, text: string): number {
  const value = Number(text);
  if (isPositive(value)) return value;
  throw new ZlError('config.invalid', `${name}: ${text} is not a number of bytes`);
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

interface ObjectSchema {
  readonly required: string[];
  readonly properties: Record<string, JSONObject>;
}

/** Without the fields of a document of its own, which some MCP clients' validators refuse. */
function embedded({ required, properties }: ObjectSchema) {
  return { type: 'object' as const, additionalProperties: false, required, properties };
}
