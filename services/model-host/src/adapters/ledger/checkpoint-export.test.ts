import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { openLedger, verifyCheckpoint } from '@zerolatency/ledger';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { CheckpointExport } from './checkpoint-export.ts';

const signer = signerFromPem(generateKeyPair().privatePem);
const keys = [signer.verifier()];
const EVERY_MS = 10;

async function world(t: TestContext) {
  const dir = tempDir(t);
  const ledger = await openLedger({ dir: join(dir, 'l'), signer, origin: 'test', fsync: false });
  const attempts = { done: 0, failed: 0 };
  const said: string[] = [];
  const say = (_: object, message: string) => said.push(message);
  const exportTo = (to: string, ca?: string) =>
    new CheckpointExport({
      ...{ to, ca, everyMs: EVERY_MS, newest: () => ledger.checkpoint() },
      onAttempt: (result) => attempts[result]++,
      log: { info: say, warn: say },
    });
  const append = () => ledger.append({ kind: 'host.started', body: { version: '1.2.3' } });
  const stop = async (exporting: CheckpointExport) => {
    await ledger.close();
    await exporting.close(AbortSignal.timeout(5_000));
  };
  return { dir, ledger, attempts, said, exportTo, append, stop };
}

const sizeOf = (note: string) => verifyCheckpoint(note, keys).value?.size;

test('[AUD-04] a folder receives one checkpoint for each size, and none is replaced', async (t) => {
  const { dir, ledger, attempts, exportTo, append, stop } = await world(t);
  const folder = join(dir, 'kept');
  await mkdir(folder);
  const exporting = exportTo(folder);
  await eventually(() => attempts.done === 1);
  await append();
  await eventually(() => attempts.done === 2);
  await append();
  await stop(exporting);
  const names = (await readdir(folder)).sort();
  const notes = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  assert.deepEqual(notes.map(sizeOf).at(-1), ledger.size);
  assert.equal(new Set(notes.map(sizeOf)).size, names.length);
  assert.match(exporting.status().detail ?? '', new RegExp(`^${ledger.size} records at `));

  const [first = ''] = names;
  const [note = ''] = notes;
  const other = note.replace(/\n.{43}=\n/, `\n${Buffer.alloc(32).toString('base64')}\n`);
  await writeFile(join(folder, names.at(-1) ?? ''), other.replace('\n1\n', `\n${ledger.size}\n`));
  const again = exportTo(folder);
  await eventually(() => attempts.failed > 0);
  await stop(again);
  assert.equal(again.status().status, 'degraded');
  assert.match(
    again.status().detail ?? '',
    /has another root: the ledger or that file was altered/,
  );
  assert.equal(await readFile(join(folder, first), 'utf8'), note);
});

test('[AUD-04] a target that is away is tried again, counted and said once', async (t) => {
  const { dir, attempts, said, exportTo, stop } = await world(t);
  const folder = join(dir, 'not-mounted');
  const exporting = exportTo(folder);
  await eventually(() => attempts.failed > 2);
  assert.deepEqual(said, ['checkpoints cannot be exported']);
  const { status, detail = '' } = exporting.status();
  assert.equal(status, 'degraded');
  assert.match(detail, /^\d+ attempts failed since .*ENOENT.*; nothing exported yet$/);
  assert.equal(exporting.currentAtMs, 0);
  await mkdir(folder);
  await eventually(() => attempts.done === 1);
  // The target stays current without a new checkpoint.
  const heldAtMs = exporting.currentAtMs;
  await eventually(() => exporting.currentAtMs > heldAtMs);
  assert.equal(attempts.done, 1);
  await stop(exporting);
  assert.equal(exporting.status().status, 'ok');
  assert.deepEqual(said.slice(1), ['checkpoints are exported again']);
});

test('[AUD-04] a URL receives each checkpoint over TLS, and one that refuses it is away', async (t) => {
  const { dir, attempts, exportTo, append, stop } = await world(t);
  const authority = await makeAuthority(dir);
  const { cert, key } = await authority.server();
  const received: string[] = [];
  let status = 503;
  const server = createServer({ cert, key }, async (request, response) => {
    const body = await text(request);
    if (status < 300) received.push(body);
    response.writeHead(status).end();
  }).listen(0, 'localhost');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const exporting = exportTo(`https://localhost:${address.port}/notes`, authority.ca);
  await eventually(() => attempts.failed > 0);
  assert.match(exporting.status().detail ?? '', /answered with status 503/);
  status = 204;
  await eventually(() => attempts.done === 1);
  await append();
  await eventually(() => attempts.done === 2);
  await stop(exporting);
  assert.deepEqual(received.map(sizeOf), [1, 2]);
});

test('[AUD-04] a URL whose certificate nobody vouches for receives nothing', async (t) => {
  const { dir, attempts, exportTo, stop } = await world(t);
  const { cert, key } = await (await makeAuthority(dir)).server();
  let requests = 0;
  const server = createServer({ cert, key }, () => requests++).listen(0, 'localhost');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const exporting = exportTo(`https://localhost:${address.port}/`);
  await eventually(() => attempts.failed > 1);
  await stop(exporting);
  assert.deepEqual([attempts.done, requests], [0, 0]);
});
