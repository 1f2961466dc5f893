import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromLocal, ZlError } from './index.ts';

async function errorOf(work: Promise<unknown>): Promise<ZlError> {
  return work.then(
    () => assert.fail('it should be refused'),
    (reason: unknown) => fromLocal(reason),
  );
}

test('[CLI-02] a file of this machine is named with what is wrong, and is no defect', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zl-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'file');
  writeFileSync(file, '');
  for (const [work, message] of [
    [() => readFile(join(dir, 'none')), `${join(dir, 'none')} does not exist`],
    [() => mkdir(file), `${file} is in the way`],
    [
      () => readFile(join(file, 'below')),
      `${join(file, 'below')} lies below something that is not a folder`,
    ],
  ] as const) {
    const error = await errorOf(work());
    assert.deepEqual([error.id, error.message], ['file.unusable', message]);
  }
});

test('[CLI-02] a port of this machine is named with what is wrong', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  const second = createServer().listen(port, '127.0.0.1');
  const error = await errorOf(once(second, 'listening'));
  assert.deepEqual(
    [error.id, error.message],
    ['port.unusable', `port ${port} of 127.0.0.1 is taken by another program`],
  );
});

test('an error of ours stays, and a defect shows its own message on this machine', () => {
  const ours = new ZlError('policy.denied', 'no');
  assert.equal(fromLocal(ours), ours);
  const { id, message } = fromLocal(new TypeError('x is undefined'));
  assert.deepEqual([id, message], ['internal', 'x is undefined']);
});
