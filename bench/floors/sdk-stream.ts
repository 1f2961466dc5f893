// What an application writes without a host: a server that passes on what a vendor's package streams.
import { createServer } from 'node:http';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';

const [baseURL = ''] = process.argv.slice(2);
const model = createOpenAICompatible({ name: 'local', baseURL })('m');

const server = createServer(async (request, response) => {
  let text = '';
  for await (const piece of request.setEncoding('utf8')) text += piece;
  const prompt = [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }];
  const { stream } = await model.doStream({ prompt });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for await (const part of stream) {
    if (part.type === 'text-delta') response.write(`data: ${JSON.stringify(part.delta)}\n\n`);
  }
  response.end();
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address === null || typeof address !== 'object') return;
  console.log(JSON.stringify({ event: 'ready', url: `http://127.0.0.1:${address.port}` }));
});
