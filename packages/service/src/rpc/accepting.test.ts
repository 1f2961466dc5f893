import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { Accepting } from './accepting.ts';

const PROGRAM = join(import.meta.dirname, '../../test/descriptors.ts');

async function ask(url: string): Promise<string> {
  const session = connectHttp2(url);
  try {
    await once(session, 'connect');
    const stream = session.request({ ':path': '/' });
    let answer = '';
    for await (const chunk of stream) answer += chunk;
    return answer;
  } finally {
    session.destroy();
  }
}

test('[OPS-04] without file descriptors a listener pauses, says so, and resumes by itself', {
  timeout: 60_000,
}, async (t) => {
  const command = `ulimit -n 100; exec "${process.execPath}" "${PROGRAM}"`;
  const child = spawn('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async () => (await lines.next()).value;
  const url = await said();
  assert.equal(await ask(url), 'served');
  child.stdin.write('take\n');
  assert.equal(await said(), 'exhausted');
  assert.equal(await said(), 'paused');
  await assert.rejects(ask(url), /ECONNREFUSED/);
  child.stdin.write('give\n');
  assert.equal(await said(), 'accepting');
  assert.equal(await ask(url), 'served');
});

test('[OPS-04] a port that another program holds is asked for again without leaving listeners', {
  timeout: 60_000,
}, async (t) => {
  const server = createServer();
  const accepting = new Accepting(server, { host: '127.0.0.1', port: 0, onChange: () => {} });
  t.after(() => accepting.close());
  const port = await accepting.start();
  const listeners = () => ['listening', 'error'].map((event) => server.listenerCount(event));
  const before = listeners();
  server.emit('error', new Error('too many open files'));
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  await new Promise((resolve) => server.once('error', resolve));
  await new Promise(setImmediate);
  assert.deepEqual(listeners(), before);
  other.close();
  await eventually(() => accepting.isAccepting);
  assert.equal((server.address() as AddressInfo).port, port);
});
