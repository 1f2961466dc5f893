import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ClientSessions } from './client-sessions.ts';

async function server(t: TestContext) {
  const sessions: ServerHttp2Session[] = [];
  const listening = createServer((_, response) => response.end('answer'));
  listening.on('session', (session) => sessions.push(session));
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    for (const session of sessions) session.destroy();
    listening.close();
  });
  const { port } = listening.address() as AddressInfo;
  const client = new ClientSessions(`http://127.0.0.1:${port}`, {});
  t.after(() => client.abort());
  const ask = async () => {
    const stream = await client.request('GET', '/', {}, {});
    stream.end();
    const session = stream.session!;
    let answer = '';
    for await (const chunk of stream) answer += chunk;
    if (!stream.closed) await once(stream, 'close');
    return { answer, session };
  };
  return { sessions, ask };
}

test('[RLY-06] a request right after a server has said that it goes neither fails nor ends the process', async (t) => {
  const { sessions, ask } = await server(t);
  const { session } = await ask();
  const later = Promise.withResolvers<Awaited<ReturnType<typeof ask>>>();
  session.once('goaway', () => {
    // Its error is raised only once the socket is closed.
    assert.equal(session.destroyed, true);
    ask().then(later.resolve, later.reject);
  });
  const closed = new Promise((resolve) => session.once('close', resolve));
  sessions[0]?.goaway(0);
  const again = await later.promise;
  assert.equal(again.answer, 'answer');
  assert.notEqual(again.session, session);
  await closed;
});
