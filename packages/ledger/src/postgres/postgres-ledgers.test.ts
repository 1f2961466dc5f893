import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPostgres } from '@zerolatency/service/postgres';
import { eventually, faultProxy, needsPostgres } from '@zerolatency/testing';
import { intent, keys, receipt } from '../../test/ledger-fixture.ts';
import { openIn, SETTINGS, usePostgres } from '../../test/postgres-fixture.ts';
import type { Ledger } from '../ledger.ts';
import { proveInclusion } from '../prove.ts';
import { readLedger } from '../read.ts';
import { verifyLedger } from '../verify.ts';

const scratch = usePostgres();

async function leavesOf(ledger: Ledger): Promise<string[]> {
  const leaves: string[] = [];
  for await (const { leafHash } of readLedger(ledger.source)) leaves.push(leafHash);
  return leaves;
}

test(
  '[AUD-02] records and segments in PostgreSQL verify, and prove, as they do in files',
  needsPostgres(),
  async () => {
    const ledger = await openIn((await scratch.ledgers()).create(), { maxSegmentBytes: 3_000 });
    const hashes: string[] = [];
    for (let number = 1; number <= 12; number++) {
      const both = [intent(number), await receipt(number)];
      for (const { leafHash } of await Promise.all(both.map((entry) => ledger.append(entry)))) {
        hashes.push(leafHash);
      }
    }
    await ledger.end();
    const { source } = ledger;
    const report = await verifyLedger(source, { keys });
    assert.deepEqual([report.verdict, report.unsigned, report.openIntents], ['valid', 0, 0]);
    assert.ok((await source.segments()).length > 3);
    const leaves = await leavesOf(ledger);
    assert.ok(hashes.every((hash) => leaves.includes(hash)));
    assert.match(await proveInclusion(source, { index: 5 }), /tlog-proof/);
  },
);

test(
  '[AUD-02] a server that is killed under load has every acknowledged record when it is back',
  needsPostgres(),
  async () => {
    let ledger = await openIn((await scratch.ledgers()).create());
    const acknowledged = new Map<number, string>();
    let next = 0;
    let isOver = false;
    const write = async () => {
      while (!isOver) {
        const appended = await ledger.append(intent(next++)).catch(() => undefined);
        if (appended === undefined) return;
        acknowledged.set(appended.index, appended.leafHash);
        // Bounded, so that open intents do not run out.
        if (next > 3_000) return;
      }
    };
    const load = Promise.all(Array.from({ length: 8 }, write));
    await eventually(() => acknowledged.size > 50);
    await scratch.server.kill();
    await load;
    assert.equal(ledger.state, 'failed');
    await scratch.server.start();
    ledger = await eventually(() => ledger.reopen());
    await ledger.append(intent(10_000));
    isOver = true;
    const leaves = await leavesOf(ledger);
    for (const [index, hash] of acknowledged) assert.equal(leaves[index], hash);
    await ledger.close();
    assert.equal((await verifyLedger(ledger.source, { keys })).verdict, 'valid');
  },
);

test(
  '[AUD-02] a commit whose answer was lost is looked up, and neither lost nor written twice',
  needsPostgres(),
  async (t) => {
    const proxy = await faultProxy({ target: { port: scratch.server.port } });
    t.after(() => proxy.close());
    const url = scratch.server.url().replace(/:\d+\//, `:${proxy.port}/`);
    const ledger = await openIn((await scratch.ledgers({ url })).create(), {
      checkpointEveryMs: 1_000_000,
    });
    const before = ledger.size;
    proxy.pause('down');
    const appended = ledger.append(intent(1));
    const countOf = async () => {
      const postgres = await openPostgres(SETTINGS, { env: { URL: scratch.server.url() } });
      t.after(() => postgres.close());
      const { rows } = await postgres.query<{ records: string }>(
        'SELECT count(*) AS records FROM zl_ledger.records WHERE ledger_id = $1',
        [ledger.ledgerId],
      );
      return Number(rows[0]?.records);
    };
    await eventually(async () => (await countOf()) === before + 1, { everyMs: 50 });
    proxy.cut();
    proxy.resume();
    assert.equal((await appended).index, before);
    assert.equal(await countOf(), before + 1);
    assert.equal(ledger.state, 'open');
    await ledger.append(await receipt(1));
    await ledger.close();
    assert.equal((await verifyLedger(ledger.source, { keys })).verdict, 'valid');
  },
);

test(
  'a frozen server fails the ledger in bounded time, which goes on afterwards',
  needsPostgres(),
  async (t) => {
    const ledger = await openIn((await scratch.ledgers()).create());
    scratch.server.freeze();
    t.after(() => scratch.server.thaw());
    await assert.rejects(ledger.append(intent(1)), { id: 'ledger.failed' });
    scratch.server.thaw();
    const again = await eventually(() => ledger.reopen());
    assert.equal(again.ledgerId, ledger.ledgerId);
    await again.append(intent(2));
    await again.close();
    assert.equal((await verifyLedger(again.source, { keys })).verdict, 'valid');
  },
);

test(
  '[HOST-09] a ledger whose host shows no life is taken over once, ended, and closed to its old writer',
  needsPostgres(),
  async () => {
    const beatEveryMs = 100;
    // Its host never beats within the test.
    const away = await openIn((await scratch.ledgers({ beatEveryMs: 1_000_000 })).create());
    await away.append(intent(1));
    const living = await scratch.ledgers({ beatEveryMs });
    const alive = await openIn(living.create());
    const others = await Promise.all([living, await scratch.ledgers({ beatEveryMs })]);
    const taken = await eventually(
      async () => {
        const stores = (await Promise.all(others.map((all) => all.takeAbandoned()))).flat();
        return stores.find(({ ledgerId }) => ledgerId === away.ledgerId);
      },
      { everyMs: beatEveryMs },
    );
    const adopted = await openIn(taken);
    assert.deepEqual(
      adopted.openIntents().map(({ body }) => body.tool),
      ['fs.read'],
    );
    await assert.rejects(away.append(intent(2)), { id: 'ledger.failed', message: /taken over/ });
    await adopted.append(await receipt(1));
    await adopted.end(alive.ledgerId);
    const report = await verifyLedger(adopted.source, { keys });
    assert.deepEqual([report.verdict, report.openIntents, report.unsigned], ['valid', 0, 0]);
    assert.equal(report.byKind['ledger.ended'], 1);
    const successor = await away.reopen();
    assert.notEqual(successor.ledgerId, away.ledgerId);
    assert.equal(alive.state, 'open');
    await alive.append(intent(3));
    await Promise.all([successor.end(), alive.end()]);
  },
);

test(
  'a server that may lose a commit is refused, and a pod needs no more than its grants',
  needsPostgres(),
  async (t) => {
    const owner = await openPostgres(SETTINGS, { env: { URL: scratch.server.url() } });
    t.after(() => owner.close());
    await scratch.ledgers();
    await owner.query("CREATE ROLE pod LOGIN PASSWORD 'pod'");
    for (const grant of GRANTS) await owner.query(grant);
    const url = scratch.server.url().replace(/owner:\w+/, 'pod:pod');
    const ledger = await openIn((await scratch.ledgers({ url })).create());
    await ledger.append(intent(1));
    await ledger.append(await receipt(1));
    await ledger.end();
    const pod = await openPostgres(SETTINGS, { env: { URL: url } });
    t.after(() => pod.close());
    for (const change of ['DELETE FROM', 'TRUNCATE']) {
      await assert.rejects(pod.query(`${change} zl_ledger.records`), /permission denied/);
    }
    await assert.rejects(pod.query("UPDATE zl_ledger.records SET line = ''"), /permission denied/);
    await owner.query('ALTER ROLE pod SET synchronous_commit = off');
    await assert.rejects(scratch.ledgers({ url }), {
      id: 'config.invalid',
      message: /synchronous_commit on or remote_apply/,
    });
  },
);

/** As docs/architecture.md lists them. */
const GRANTS = [
  'GRANT USAGE ON SCHEMA zl_ledger TO pod',
  'GRANT SELECT ON ALL TABLES IN SCHEMA zl_ledger TO pod',
  'GRANT INSERT ON zl_ledger.ledgers, zl_ledger.records, zl_ledger.bundles TO pod',
  'GRANT UPDATE (writer, epoch, beat, checkpoint, checkpoint_size, ended_at) ON zl_ledger.ledgers TO pod',
];
