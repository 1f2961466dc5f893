// An MCP server that does the least: it answers `get` with one line that it made before, of base64 or of text.
import { createInterface } from 'node:readline';

const WORDS = 'INFO 2026-01-01T00:00:00Z request id=4711 of the quick brown fox took 12 ms\n';
/** @type {Map<string, string>} */
const made = new Map();

/** @param {string} kind @param {number} chars */
function resultOf(kind, chars) {
  const key = `${kind} ${chars}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const bytes = Buffer.alloc(Math.ceil((chars * 3) / 4));
  for (let i = 0, x = 1; i < bytes.length; i += 1) {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = x >> 16;
  }
  const text =
    kind === 'base64' ? bytes.toString('base64') : WORDS.repeat(chars / WORDS.length + 1);
  const part =
    kind === 'base64'
      ? { type: 'image', mimeType: 'image/png', data: text.slice(0, chars - (chars % 4)) }
      : { type: 'text', text: text.slice(0, chars) };
  const result = JSON.stringify({ content: [part] });
  made.set(key, result);
  return result;
}

/** When the server answered, by the machine's monotonic clock. @param {number} chars */
function stamped(chars) {
  const atUs = Number(process.hrtime.bigint()) / 1000;
  const content = [{ type: 'text', text: 'x'.repeat(chars) }];
  return JSON.stringify({ content, structuredContent: { atUs } });
}

const schema = {
  type: 'object',
  properties: { kind: { type: 'string' }, chars: { type: 'number' } },
};
/** @type {Record<string, (params: any) => string | undefined>} */
const METHODS = {
  initialize: ({ protocolVersion }) =>
    JSON.stringify({
      protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'large', version: '1.0.0' },
    }),
  ping: () => '{}',
  'tools/list': () =>
    JSON.stringify({
      tools: [{ name: 'get', description: 'Answers at length.', inputSchema: schema }],
    }),
  'tools/call': ({ arguments: { kind, chars } }) =>
    kind === 'stamp' ? stamped(chars) : resultOf(kind, chars),
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const result = METHODS[method]?.(params);
  const rest =
    result === undefined ? '"error":{"code":-32601,"message":"unknown"}' : `"result":${result}`;
  process.stdout.write(`{"jsonrpc":"2.0","id":${id},${rest}}\n`);
});
