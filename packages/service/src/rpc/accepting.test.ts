import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

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
