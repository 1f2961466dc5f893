// The built-in MCP server `fs`: node fs-server.ts --root DIR [--root DIR] [--max-bytes N]
import { parseArgs } from 'node:util';
import { ProtocolError, ProtocolErrorCode, Server } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { ZlError } from '@zerolatency/errors';
import { fsVersion, readDefinition } from './read-definition.ts';
import { callRead, maxBytesMeta } from './read-tool.ts';
import { openRoots } from './roots.ts';

const defaultMaxBytes = 1024 * 1024;

const { values } = parseArgs({
  options: {
    root: { type: 'string', multiple: true, default: [] },
    'max-bytes': { type: 'string', default: String(defaultMaxBytes) },
  },
});
const roots = openRoots(values.root);
const maxBytes = positive('--max-bytes', values['max-bytes']);

serveStdio(() => {
  const server = new Server({ name: 'fs', version: fsVersion }, { capabilities: { tools: {} } });
  server.setRequestHandler('tools/list', () => ({ tools: [readDefinition] }));
  server.setRequestHandler('tools/call', ({ params }, { mcpReq }) => {
    if (params.name !== readDefinition.name) {
      throw new ProtocolError(ProtocolErrorCode.MethodNotFound, `no tool ${params.name}`);
    }
    const asked = mcpReq._meta?.[maxBytesMeta];
    const maxResultBytes = typeof asked === 'number' ? asked : Number.MAX_SAFE_INTEGER;
    return callRead(roots, params.arguments ?? {}, { maxBytes, maxResultBytes });
  });
  return server;
});

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new ZlError('config.invalid', `${name}: ${text} is not a number of bytes`);
}
