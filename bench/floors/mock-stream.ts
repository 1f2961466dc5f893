// Streams what the mock provider says over bare HTTP/2 and TLS: a first token without turn, identity, record or RPC.
import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { mockProvider } from '../../services/model-host/src/adapters/mock-provider/mock-provider.ts';
import { parseScript } from '../../services/model-host/src/adapters/mock-provider/script.ts';

const [scriptFile = '', certFile = '', keyFile = ''] = process.argv.slice(2);
const provider = mockProvider(parseScript(readFileSync(scriptFile, 'utf8'), scriptFile));
const server = createSecureServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) });

server.on('stream', async (stream, headers) => {
  stream.respond({ ':status': 200 });
  const text = decodeURIComponent(String(headers[':path']).slice(1));
  const request = {
    tenant: 'north',
    model: 'm',
    system: '',
    messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }],
    tools: [],
    maxOutputTokens: 1_000_000,
  };
  for await (const part of provider.stream(request, new AbortController().signal)) {
    if (part.type === 'text-delta') stream.write(part.delta);
  }
  stream.end();
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
