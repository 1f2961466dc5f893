// A vendor on loopback that streams as many deltas as the last message says, such as "deltas=200 pace=4" (in ms).
import { createServer, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

async function stream(response: ServerResponse, body: string): Promise<void> {
  const [, deltas = '1', paceMs = '0'] = /deltas=(\d+) pace=(\d+)/.exec(body) ?? [];
  const chunk = (delta: object, finish: string | null, usage?: object) => {
    const choices = [{ index: 0, delta, finish_reason: finish }];
    const event = { id: 'chat', object: 'chat.completion.chunk', created: 0, model: 'm', choices };
    return `data: ${JSON.stringify({ ...event, ...(usage && { usage }) })}\n\n`;
  };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const text = chunk({ role: 'assistant', content: 'a word or two. ' }, null);
  for (let sent = 0; sent < Number(deltas); sent += 1) {
    if (Number(paceMs) > 0) await sleep(Number(paceMs));
    response.write(text);
  }
  const tokens = { prompt_tokens: 10, completion_tokens: Number(deltas), total_tokens: 10 };
  response.end(`${chunk({}, 'stop', tokens)}data: [DONE]\n\n`);
}

const server = createServer(async (request, response) => {
  let body = '';
  for await (const piece of request.setEncoding('utf8')) body += piece;
  await stream(response, body);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address === null || typeof address !== 'object') return;
  const url = `http://127.0.0.1:${address.port}/v1`;
  console.log(JSON.stringify({ event: 'ready', url }));
});
