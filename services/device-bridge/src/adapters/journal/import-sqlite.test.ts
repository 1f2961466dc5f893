import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { bytes, entry, opened, plain } from '../../../test/journals.ts';

const ID = new Uint8Array(16).fill(7);

/** As release 0.1.0 made it; later bridges added two columns. */
const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE entries (
    call_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    deadline_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dispatched', 'finished', 'acknowledged')),
    request BLOB,
    outcome BLOB,
    result BLOB,
    PRIMARY KEY (deadline_ms, call_id)
  ) STRICT, WITHOUT ROWID;
`;
const LATER_COLUMNS = `
  ALTER TABLE entries ADD COLUMN result_bytes INTEGER;
  ALTER TABLE entries ADD COLUMN host TEXT;
  UPDATE entries SET result_bytes = 6, host = 'host of ' || call_id;
`;

/** Open, as a bridge that is killed leaves it: its entries are in the write-ahead log only. */
function oldJournal(t: TestContext) {
  const dir = tempDir(t);
  const database = new DatabaseSync(join(dir, 'journal.db'));
  t.after(() => database.isOpen && database.close());
  database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0');
  database.exec(SCHEMA);
  const meta = database.prepare('INSERT INTO meta VALUES (?, ?)');
  meta.run('journal_id', ID);
  meta.run('watermark_ms', 3);
  meta.run('complete_epochs', '[4,5]');
  meta.run('mark_policy_floor', 1);
  const insert = database.prepare('INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)');
  const add = (callId: string, state: string, parts: (Uint8Array | null)[]) => {
    const { digest, deadlineMs } = entry(callId);
    insert.run(callId, digest, deadlineMs, state, ...(parts as [null, null, null]));
  };
  add('d', 'dispatched', [bytes('r'), null, null]);
  add('e', 'finished', [null, bytes('o'), bytes('result')]);
  add('f', 'acknowledged', [null, bytes('o'), null]);
  return { dir, database };
}

for (const [which, change] of [
  ['release 0.1.0', ''],
  ['a later bridge on SQLite', LATER_COLUMNS],
] as const) {
  test(`[BRG-01] the journal of ${which} is taken over with its id, entries and watermark`, async (t) => {
    const { dir, database } = oldJournal(t);
    database.exec(change);
    database.close();
    const isLater = change !== '';
    const key = (callId: string) => ({
      ...entry(callId),
      host: isLater ? `host of ${callId}` : '',
    });
    const outcome = bytes('o');
    const expected = plain([
      { ...key('d'), state: 'dispatched', request: bytes('r') },
      { ...key('e'), state: 'finished', outcome, result: bytes('result') },
      { ...key('f'), state: 'acknowledged', outcome, resultBytes: isLater ? 6 : 0 },
    ]);
    for (const start of [1, 2]) {
      const journal = await opened(dir);
      assert.deepEqual(Buffer.from(journal.id), Buffer.from(ID));
      assert.deepEqual(plain(journal.load()), expected, `start ${start}`);
      assert.deepEqual([journal.watermarkMs, journal.completeEpochs], [3, [4, 5]]);
      assert.deepEqual(
        ['policy_floor', 'manifest_floor'].map((name) => journal.mark(name).isSet()),
        [true, false],
      );
      await journal.close();
    }
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.startsWith('journal.db')),
      [],
    );
  });
}

test('a bridge does not take over the journal of an older one that runs', async (t) => {
  const { dir, database } = oldJournal(t);
  database.exec('BEGIN EXCLUSIVE');
  await assert.rejects(opened(dir), { id: 'config.invalid', message: /another bridge is using/ });
  database.exec('ROLLBACK');
  assert.deepEqual(
    database
      .prepare('SELECT call_id FROM entries')
      .all()
      .map(({ call_id: callId }) => callId),
    ['d', 'e', 'f'],
  );
});

for (const [what, damage] of Object.entries({
  'is no database': ({ dir, database }: ReturnType<typeof oldJournal>) => {
    database.close();
    writeFileSync(join(dir, 'journal.db'), Buffer.alloc(20_000, 'x'));
  },
  'has no id': ({ database }: ReturnType<typeof oldJournal>) => {
    database.exec('DELETE FROM meta');
    database.close();
  },
  'holds a row that is no entry': ({ database }: ReturnType<typeof oldJournal>) => {
    database.exec('UPDATE entries SET outcome = NULL');
    database.close();
  },
})) {
  test(`[BRG-01] a journal of an older bridge that ${what} is set aside`, async (t) => {
    const old = oldJournal(t);
    damage(old);
    const said: string[] = [];
    const journal = await opened(old.dir, { corrupt: ({ message }) => void said.push(message) });
    t.after(() => journal.close());
    assert.notDeepEqual(Buffer.from(journal.id), Buffer.from(ID));
    assert.deepEqual([...journal.load()], []);
    assert.match(said.join(), /is damaged.*it is kept as \S+journal\.db\.damaged-/);
    const kept = readdirSync(old.dir).filter((name) => name.startsWith('journal.db'));
    assert.match(kept.join(), /^journal\.db\.damaged-[^.]+$/);
  });
}
