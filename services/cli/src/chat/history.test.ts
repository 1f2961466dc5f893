import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { ChatHistory } from './history.ts';

function fileIn(t: TestContext): string {
  return join(tempDir(t), 'chat-history');
}

const never = (reason: string) => assert.fail(reason);

test('recalls what other runs have said meanwhile, the newest first', async (t) => {
  const file = fileIn(t);
  const [one, two] = await Promise.all([
    ChatHistory.open(file, never),
    ChatHistory.open(file, never),
  ]);
  assert.deepEqual(one.entries, []);
  await one.keep('first');
  await two.keep('second\nof two lines');
  assert.deepEqual((await ChatHistory.open(file, never)).entries, [
    'second\nof two lines',
    'first',
  ]);
});

test('[RED-01] keeps no secret, nothing after a space, and nothing that was pasted at length', async (t) => {
  const file = fileIn(t);
  const history = await ChatHistory.open(file, never);
  const secrets = [
    'use sk-ant-api03-abcdefghijklmnopqrstuv',
    'curl -H "Authorization: Bearer abcdefghijklmnop0123456789"',
    'postgres://me:hunter2hunter2@db/x',
  ];
  for (const text of [...secrets, ' not this', 'x'.repeat(5_000), 'mail me@example.test']) {
    await history.keep(text);
  }
  assert.equal(await readFile(file, 'utf8'), '"mail me@example.test"\n');
});

test('is cut to its last thousand entries, and readable only by its owner', async (t) => {
  const file = fileIn(t);
  const lines = Array.from({ length: 3_000 }, (_, n) => `"entry ${n}"\n`);
  await writeFile(file, lines.join(''));
  await chmod(file, 0o644);
  const { entries } = await ChatHistory.open(file, never);
  assert.deepEqual([entries.length, entries[0]], [1_000, 'entry 2999']);
  assert.equal(await readFile(file, 'utf8'), lines.slice(-1_000).join(''));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  await chmod(file, 0o644);
  await (await ChatHistory.open(file, never)).keep('more');
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});

test('a file of many megabytes is read from its end', async (t) => {
  const file = fileIn(t);
  await writeFile(file, `"${'x'.repeat(20_000_000)}"\n"last"\n`);
  assert.deepEqual((await ChatHistory.open(file, never)).entries, ['last']);
});

test('skips lines of another form, and what controls the terminal in those it takes', async (t) => {
  const file = fileIn(t);
  await writeFile(file, '{"a":1}\nnot JSON\n12\n"\\u001b[2Jfine\\u202e"\n"torn');
  assert.deepEqual((await ChatHistory.open(file, never)).entries, ['fine']);
});

test('says once that it cannot be written', async (t) => {
  const file = fileIn(t);
  await mkdir(file);
  const reasons: string[] = [];
  const history = await ChatHistory.open(file, (reason) => reasons.push(reason));
  await history.keep('one');
  await history.keep('two');
  assert.equal(reasons.length, 1);
  assert.match(reasons[0]!, /chat-history/);
});
