import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { fullDisk, tempDir } from '@zerolatency/testing';
import { fillsUp } from '../../../test/full-journal.ts';
import { bytes, opened } from '../../../test/journals.ts';
import { MAX_INLINE_BYTES } from './journal.ts';
import { type LogRecord, RecordLog, recordsIn } from './log.ts';
import { openJournal } from './open-journal.ts';

const key = (callId: string) => ({ callId, digest: bytes('d'), deadlineMs: 1_000, host: '' });
const large = new Uint8Array(MAX_INLINE_BYTES + 1).fill(7);

function observed() {
  const damages: ZlError[] = [];
  const torn: number[] = [];
  const observer = {
    wrote() {},
    failed() {},
    corrupt: (error: ZlError) => damages.push(error),
    torn: (count: number) => torn.push(count),
  };
  return { observer, damages, torn };
}

/** A closed journal with one finished call. */
async function journalAt(t: TestContext) {
  const dir = tempDir(t);
  const journal = await opened(dir);
  journal.finished({ ...key('a'), outcome: bytes('o'), result: bytes('result') }, true);
  await journal.close();
  return { dir, path: join(dir, 'calls.journal'), id: Buffer.from(journal.id) };
}

/** Writes the log anew, with its records changed. */
async function edit(
  path: string,
  change: (head: Record<string, unknown>) => object,
): Promise<void> {
  const records: LogRecord[] = [];
  for (const { head, bytes: part } of recordsIn(readFileSync(path))) {
    const fields = { ...(head as Record<string, unknown>) };
    if (fields.op !== 'base')
      records.push({ head: change(fields), parts: [Uint8Array.from(part)] });
  }
  const log = await RecordLog.create(path, records);
  log.close();
}

const flip = (path: string, at: number) => {
  const content = readFileSync(path);
  content[at] = (content[at] ?? 0) ^ 1;
  writeFileSync(path, content);
};
const sizeOf = (path: string) => readFileSync(path).length;
const finished = (head: Record<string, unknown>) => head.op === 'finished';

const DAMAGES: Record<string, (path: string) => void | Promise<void>> = {
  'is no journal': (path) => writeFileSync(path, Buffer.alloc(20_000, 'x')),
  'is empty': (path) => truncateSync(path),
  'consists of zeros': (path) => writeFileSync(path, Buffer.alloc(20_000)),
  'has a damaged byte in its first record': (path) => flip(path, 20),
  'has a damaged byte in its last record': (path) => flip(path, sizeOf(path) - 1),
  'is cut': (path) => truncateSync(path, sizeOf(path) - 20),
  'is of a later version': (path) =>
    edit(path, (head) => (head.op === 'journal' ? { ...head, version: 2 } : head)),
  'holds a record that is no entry': (path) =>
    edit(path, (head) => (finished(head) ? { ...head, deadlineMs: 'soon' } : head)),
  'holds a record of an unknown kind': (path) =>
    edit(path, (head) => (finished(head) ? { ...head, op: 'imagined' } : head)),
  'holds an outcome that is not whole': (path) =>
    edit(path, (head) => (finished(head) ? { ...head, outcomeBytes: 1_000 } : head)),
  'holds a request that cannot be read': (path) =>
    edit(path, (head) => (finished(head) ? { ...head, op: 'dispatched' } : head)),
  'names epochs that are no numbers': (path) =>
    edit(path, (head) => (head.op === 'journal' ? { ...head, epochs: [null] } : head)),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`[BRG-01] a journal that ${what} is set aside, and a new one answers for nothing`, async (t) => {
    const { dir, path, id } = await journalAt(t);
    await damage(path);
    const { observer, damages } = observed();
    const journal = await openJournal(dir, observer);
    t.after(() => journal.close());
    assert.notDeepEqual(Buffer.from(journal.id), id);
    assert.deepEqual([...journal.load()], []);
    assert.deepEqual(
      damages.map((error) => error.id),
      ['journal.corrupt'],
    );
    const kept = readdirSync(dir).find((name) => /\.damaged-[^.]*$/.test(name)) ?? '';
    assert.match(damages[0]?.message ?? '', new RegExp(`kept as ${join(dir, kept)}$`));
  });
}

test('[BRG-01] a journal in order is opened as it is', async (t) => {
  const { dir, id } = await journalAt(t);
  const { observer, damages, torn } = observed();
  const journal = await openJournal(dir, observer);
  t.after(() => journal.close());
  assert.deepEqual(Buffer.from(journal.id), id);
  assert.deepEqual([damages, torn], [[], []]);
});

test('only the latest damaged journals are kept', async (t) => {
  const dir = tempDir(t);
  for (let round = 0; round < 6; round += 1) {
    writeFileSync(join(dir, 'calls.journal'), `${round}`.repeat(2_000));
    const journal = await openJournal(dir, observed().observer);
    journal.finished({ ...key('a'), outcome: bytes('o'), result: large }, true);
    await journal.close();
  }
  const kept = readdirSync(dir).filter((name) => /\.damaged-[^.]*$/.test(name));
  const contents = kept.map((name) => readFileSync(join(dir, name), 'utf8')[0]);
  assert.deepEqual(contents.sort(), ['3', '4', '5']);
  const results = readdirSync(dir).filter((name) => name.endsWith('.results'));
  assert.deepEqual(results.length, 3);
});

const REPLACED: Record<string, (path: string) => void> = {
  deleted: (path) => rmSync(path),
  'replaced by a copy': (path) => {
    copyFileSync(path, `${path}.copy`);
    renameSync(`${path}.copy`, path);
  },
};

for (const [what, replace] of Object.entries(REPLACED)) {
  test(`[BRG-01] notices while it runs that the journal is ${what}`, async (t) => {
    const { dir, path } = await journalAt(t);
    const journal = await opened(dir);
    await journal.maintain({ isIdle: true });
    replace(path);
    const lost = { id: 'journal.corrupt', message: /was deleted or replaced while/ };
    await assert.rejects(journal.maintain({ isIdle: false }), lost);
    assert.throws(() => journal.dispatched({ ...key('b'), request: bytes('r') }, true), lost);
    writeFileSync(path, 'of another bridge');
    await journal.close();
    assert.equal(readFileSync(path, 'utf8'), 'of another bridge');
  });
}

const LOST: Record<string, (file: string) => void> = {
  deleted: (file) => rmSync(file),
  'cut short': (file) => truncateSync(file, 100),
  overwritten: (file) => writeFileSync(file, Buffer.alloc(large.length)),
  'replaced by a link': (file) => {
    renameSync(file, `${file}.elsewhere`);
    symlinkSync(`${file}.elsewhere`, file);
  },
};

for (const [what, lose] of Object.entries(LOST)) {
  test(`[BRG-01] a call whose result is ${what} is as one that never ended`, async (t) => {
    const dir = tempDir(t);
    const journal = await opened(dir);
    journal.dispatched({ ...key('a'), request: bytes('request') }, true);
    journal.finished({ ...key('a'), outcome: bytes('o'), result: large }, true);
    await journal.close();
    lose(join(dir, 'results/a.result'));
    const { observer, damages } = observed();
    for (const restart of [1, 2]) {
      const again = await openJournal(dir, observer, () => true);
      const [only, ...others] = [...again.load()];
      assert.deepEqual([only?.state, others], ['dispatched', []], `start ${restart}`);
      await again.close();
    }
    assert.deepEqual(damages, []);
    assert.deepEqual(readdirSync(join(dir, 'results')), []);
  });
}

test('[BRG-01] no link leads a result to another file or folder', async (t) => {
  const dir = tempDir(t);
  const elsewhere = join(dir, 'elsewhere');
  writeFileSync(elsewhere, 'untouched');
  const journal = await opened(dir);
  symlinkSync(elsewhere, join(dir, 'results/a.result'));
  journal.finished({ ...key('a'), outcome: bytes('o'), result: large }, false);
  await journal.close();
  assert.equal(readFileSync(elsewhere, 'utf8'), 'untouched');
  rmSync(join(dir, 'results'), { recursive: true });
  mkdirSync(`${elsewhere}.d`);
  symlinkSync(`${elsewhere}.d`, join(dir, 'results'));
  await assert.rejects(opened(tempDirWith(dir)), { id: 'config.invalid', message: /not a link/ });

  function tempDirWith(folder: string): string {
    rmSync(join(folder, 'calls.journal'));
    return folder;
  }
});

test('[BRG-01] no byte of a result is left once it is acknowledged and the bridge pauses', async (t) => {
  const dir = tempDir(t);
  const journal = await opened(dir);
  t.after(() => journal.close());
  const secret = 'a result that nobody else may read ';
  const everything = () => {
    const names = readdirSync(dir, { recursive: true, encoding: 'utf8' });
    const files = names.filter((name) => !name.endsWith('results'));
    return Buffer.concat(files.map((name) => readFileSync(join(dir, name))));
  };
  for (const callId of ['a', 'b']) {
    const result = bytes(secret.repeat(callId === 'a' ? 1 : 4_000));
    journal.dispatched({ ...key(callId), request: bytes('r') }, true);
    journal.finished({ ...key(callId), outcome: bytes('o'), result }, true);
  }
  assert.ok(everything().includes(secret));
  journal.acknowledged('b');
  assert.ok(!existsSync(join(dir, 'results/b.result')), 'a file does not wait for a pause');
  journal.acknowledged('a');
  await journal.maintain({ isIdle: true });
  assert.ok(!everything().includes(secret));
  assert.equal([...journal.load()].length, 2);
});

test('[BRG-01] a write that finds the disk full did nothing, and the next one succeeds', async (t) => {
  const disk = fullDisk(t, { bytes: 1_000_000 });
  if (disk === undefined) {
    t.skip('only root may mount a small file system; the limit on file sizes is tested below');
    return;
  }
  await fillsUp(disk.dir, { full: disk.fill, remedy: disk.empty });
});

test('[BRG-01] a large result that finds the disk full leaves no file, and is kept once there is room', async (t) => {
  const disk = fullDisk(t, { bytes: 1_000_000 });
  if (disk === undefined) return t.skip('only root may mount a small file system');
  const journal = await opened(disk.dir);
  const end = { ...key('a'), outcome: bytes('o'), result: large };
  journal.dispatched({ ...key('a'), request: bytes('r') }, true);
  disk.fill();
  for (const durable of [true, false]) {
    assert.throws(() => journal.finished(end, durable), { id: 'journal.failed' });
  }
  assert.deepEqual(readdirSync(join(disk.dir, 'results')), []);
  assert.deepEqual(
    [...journal.load()].map(({ state }) => state),
    ['dispatched'],
  );
  disk.empty();
  journal.finished(end, true);
  await journal.close();
  const again = await opened(disk.dir);
  t.after(() => again.close());
  assert.equal(again.resultBytes, large.length);
});

test('[BRG-01] a write beyond the limit on file sizes did nothing, and the next one succeeds', (t) => {
  const dir = tempDir(t);
  const module = import.meta.resolve('../../../test/full-journal.ts');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { fillsUp } from ${JSON.stringify(module)};
    // Without a listener the signal ends the process.
    process.on('SIGXFSZ', () => {});
    const limit = (bytes) =>
      execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':unlimited']);
    await fillsUp(${JSON.stringify(dir)}, { full: () => limit(4096), remedy: () => limit('unlimited') });
    console.log('recovered');`;
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.match(ran.stdout, /recovered/, ran.stderr);
});
