// The messages of a chat over a bare Connect server, fed by the mock provider: no identity, turn, log or record.
import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { AgentService } from '@zerolatency/proto/agent';
import { mockProvider } from '../../services/model-host/src/adapters/mock-provider/mock-provider.ts';
import { parseScript } from '../../services/model-host/src/adapters/mock-provider/script.ts';

const [scriptFile = '', certFile = '', keyFile = ''] = process.argv.slice(2);
const provider = mockProvider(parseScript(readFileSync(scriptFile, 'utf8'), scriptFile));
const [sessionId, turnId] = ['5'.repeat(32), '7'.repeat(32)];

const handler = connectNodeAdapter({
  acceptCompression: [],
  routes(router) {
    router.service(AgentService, {
      async *chat({ start }, { signal }) {
        const text = start?.text ?? '';
        const request = {
          tenant: 'bench',
          model: 'm',
          system: '',
          messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }],
          tools: [],
          maxOutputTokens: 1_000_000,
        };
        let sequence = 0n;
        for await (const part of provider.stream(request, signal)) {
          if (part.type !== 'text-delta') continue;
          sequence += 1n;
          const event = { case: 'assistantDelta', value: { text: part.delta } } as const;
          yield { event: { sequence, firstSequence: sequence, sessionId, turnId, event } };
        }
      },
    });
  },
});
const server = createSecureServer(
  { cert: readFileSync(certFile), key: readFileSync(keyFile) },
  handler,
);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address === null || typeof address !== 'object') return;
  console.log(JSON.stringify({ event: 'ready', rpc: `https://127.0.0.1:${address.port}` }));
});
