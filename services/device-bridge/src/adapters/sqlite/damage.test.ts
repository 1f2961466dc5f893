import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { fullDisk, tempDir } from '@zerolatency/testing';
import { fillsUp } from '../../../test/full-journal.ts';
import { SqliteJournal } from './journal.ts';
import { openJournal } from './open-journal.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const key = (callId: string) => ({ callId, digest: bytes('d'), deadlineMs: 1_000, host: '' });

function observed() {
  const damages: ZlError[] = [];
  const corrupt = (error: ZlError) => damages.push(error);
  return { observer: { wrote() {}, failed() {}, corrupt }, damages };
}

/** A closed journal with one finished call. */
function journalAt(t: TestContext) {
  const dir = tempDir(t);
  const path = join(dir, 'journal.db');
  const journal = new SqliteJournal(path, observed().observer);
  journal.finished({ ...key('a'), outcome: bytes('o'), result: bytes('result') }, true);
  journal.close();
  return { dir, path, id: Buffer.from(journal.id) };
}

function edit(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

const DAMAGES: Record<string, (path: string) => void> = {
  'is no database': (path) => writeFileSync(path, Buffer.alloc(20_000, 'x')),
  'has a damaged page': (path) => {
    const content = readFileSync(path);
    writeFileSync(path, content.fill(0xff, 4_096));
  },
  'is cut': (path) => writeFileSync(path, readFileSync(path).subarray(0, 5_000)),
  'holds a row that is no entry': (path) => edit(path, 'UPDATE entries SET outcome = NULL'),
  'holds a request that cannot be read': (path) =>
    edit(path, "UPDATE entries SET state = 'dispatched', request = x'ff'"),
  'names epochs that are no numbers': (path) =>
    edit(path, "INSERT INTO meta VALUES ('complete_epochs', '[null]')"),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`[BRG-01] a journal that ${what} is set aside, and a new one answers for nothing`, (t) => {
    const { dir, path, id } = journalAt(t);
    damage(path);
    const { observer, damages } = observed();
    const journal = openJournal(path, observer);
    t.after(() => journal.close());
    assert.notDeepEqual(Buffer.from(journal.id), id);
    assert.deepEqual([...journal.load()], []);
    assert.deepEqual(
      damages.map((error) => error.id),
      ['journal.corrupt'],
    );
    const [kept = ''] = readdirSync(dir).filter((name) => name.includes('.damaged-'));
    assert.match(damages[0]?.message ?? '', new RegExp(`kept as ${join(dir, kept)}$`));
  });
}

test('[BRG-01] a journal in order is opened as it is', (t) => {
  const { path, id } = journalAt(t);
  const { observer, damages } = observed();
  const journal = openJournal(path, observer);
  t.after(() => journal.close());
  assert.deepEqual(Buffer.from(journal.id), id);
  assert.deepEqual(damages, []);
});

test('only the latest damaged journals are kept', (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'journal.db');
  for (let round = 0; round < 6; round += 1) {
    writeFileSync(path, 'x'.repeat(2_000));
    openJournal(path, observed().observer).close();
  }
  const kept = readdirSync(dir).filter((name) => name.includes('.damaged-'));
  assert.equal(kept.length, 3);
});

const REPLACED: Record<string, (path: string) => void> = {
  'the journal is deleted': (path) => rmSync(path),
  'the journal is replaced by a copy': (path) => {
    copyFileSync(path, `${path}.copy`);
    renameSync(`${path}.copy`, path);
  },
  'its log is deleted': (path) => rmSync(`${path}-wal`),
};

for (const [what, replace] of Object.entries(REPLACED)) {
  test(`[BRG-01] notices while it runs that ${what}`, (t) => {
    const { path } = journalAt(t);
    const journal = new SqliteJournal(path, observed().observer);
    journal.maintain({ isIdle: true });
    replace(path);
    const lost = { id: 'journal.corrupt', message: /was deleted or replaced while/ };
    assert.throws(() => journal.maintain({ isIdle: false }), lost);
    assert.throws(() => journal.dispatched({ ...key('b'), request: bytes('r') }, true), lost);
    appendFileSync(`${path}-wal`, '');
    journal.close();
    assert.ok(statSync(`${path}-wal`), 'what took its place is left alone');
  });
}

test('[BRG-01] each durable write waits for the disk', (t) => {
  const { path } = journalAt(t);
  const written: string[] = [];
  const { prepare } = DatabaseSync.prototype;
  const { run } = StatementSync.prototype;
  let database: DatabaseSync | undefined;
  t.mock.method(DatabaseSync.prototype, 'prepare', function (this: DatabaseSync, sql: string) {
    database = this;
    return prepare.call(this, sql);
  });
  t.mock.method(
    StatementSync.prototype,
    'run',
    function (this: StatementSync, ...values: Parameters<typeof run>) {
      assert.ok(database);
      const setting = prepare.call(database, 'PRAGMA synchronous').get()?.synchronous;
      written.push(`${this.sourceSQL.trim().split(' ')[0]} ${setting}`);
      return run.apply(this, values);
    },
  );
  const journal = new SqliteJournal(path, observed().observer);
  t.after(() => journal.close());
  const end = { outcome: bytes('o'), result: bytes('r') };
  for (const durable of [true, false, true]) {
    const callId = `call ${written.length}`;
    journal.dispatched({ ...key(callId), request: bytes('r') }, durable);
    journal.finished({ ...key(callId), ...end }, durable);
    journal.acknowledged(callId);
    journal.maintain({ isIdle: false });
  }
  journal.forget(1);
  journal.complete([1]);
  const FULL = 2;
  const NORMAL = 1;
  const call = (setting: number) => [`INSERT ${setting}`, `INSERT ${setting}`, `UPDATE ${NORMAL}`];
  const meta = [`INSERT ${FULL}`, `DELETE ${FULL}`, `INSERT ${FULL}`];
  assert.deepEqual(written, [...call(FULL), ...call(NORMAL), ...call(FULL), ...meta]);
});

test('[BRG-01] no byte of a result is left once it is acknowledged and the bridge pauses', (t) => {
  const dir = tempDir(t);
  const journal = new SqliteJournal(join(dir, 'journal.db'), observed().observer);
  t.after(() => journal.close());
  const secret = 'a result that nobody else may read ';
  const everything = () =>
    Buffer.concat(readdirSync(dir).map((name) => readFileSync(join(dir, name))));
  for (const callId of ['a', 'b']) {
    const result = bytes(secret.repeat(callId === 'a' ? 1 : 2_000));
    journal.dispatched({ ...key(callId), request: bytes('r') }, true);
    journal.finished({ ...key(callId), outcome: bytes('o'), result }, true);
  }
  assert.ok(everything().includes(secret));
  journal.acknowledged('a');
  journal.acknowledged('b');
  journal.maintain({ isIdle: true });
  assert.ok(!everything().includes(secret));
  assert.equal([...journal.load()].length, 2);
});

test('[BRG-01] a write that finds the disk full did nothing, and the next one succeeds', (t) => {
  const disk = fullDisk(t, { bytes: 1_000_000 });
  if (disk === undefined) {
    t.skip('only root may mount a small file system; the limit on file sizes is tested below');
    return;
  }
  fillsUp(join(disk.dir, 'journal.db'), { full: disk.fill, remedy: disk.empty });
});

test('[BRG-01] a write beyond the limit on file sizes did nothing, and the next one succeeds', (t) => {
  const path = join(tempDir(t), 'journal.db');
  const module = import.meta.resolve('../../../test/full-journal.ts');
  const script = `
    import { execFileSync } from 'node:child_process';
    import { fillsUp } from ${JSON.stringify(module)};
    // Without a listener the signal ends the process.
    process.on('SIGXFSZ', () => {});
    const limit = (bytes) =>
      execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':unlimited']);
    fillsUp(${JSON.stringify(path)}, { full: () => limit(4096), remedy: () => limit('unlimited') });
    console.log('recovered');`;
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.match(ran.stdout, /recovered/, ran.stderr);
});
