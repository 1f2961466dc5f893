import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { serveText } from './serve-text.ts';

async function serve(t: TestContext) {
  const path = join(tempDir(t), 'control.sock');
  return { path, served: await serveText(path, () => 'the text\n') };
}

test('every connection gets the text, and a socket left by a killed bridge is replaced', async (t) => {
  const { path, served } = await serve(t);
  assert.equal(await text(createConnection(path)), 'the text\n');
  const next = await serveText(path, () => 'the next text\n');
  assert.equal(await text(createConnection(path)), 'the next text\n');
  await served.close();
  await next.close();
});

test('[BRG-05] a client that neither reads nor leaves does not delay the close', async (t) => {
  const { path, served } = await serve(t);
  const client = createConnection({ path, allowHalfOpen: true });
  t.after(() => client.destroy());
  await once(client, 'connect');
  // Its input is ignored and must not count as reading.
  const talk = setInterval(() => client.write('.'), 50);
  t.after(() => clearInterval(talk));
  client.on('error', () => {});
  await served.close();
});

test('a report that throws closes only its own connection', async (t) => {
  const path = join(tempDir(t), 'control.sock');
  let reads = 0;
  const served = await serveText(path, () => {
    reads += 1;
    if (reads === 1) throw new Error('not now');
    return 'the text\n';
  });
  t.after(() => served.close());
  assert.equal(await text(createConnection(path)), '');
  assert.equal(await text(createConnection(path)), 'the text\n');
});
