import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type LedgerEntry, openLedger } from '@zerolatency/ledger';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import { digestOf, generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { installed } from '../../test/installed.ts';

const CALL = 'c'.repeat(32);
const AT = '2026-01-02T03:04:05.000Z';
const WHO = { tenant: 'local', user: 'me' };

interface Told {
  readonly lines?: readonly Readonly<Record<string, unknown>>[];
  readonly records?: readonly LedgerEntry[];
}

/** An installation that does not run, with the log of its host and its ledger. */
async function told(t: TestContext, { lines = [], records = [] }: Told) {
  const made = await installed(t);
  const { layout } = made;
  await mkdir(layout.logs, { recursive: true });
  const text = lines.map((line) => `${JSON.stringify({ level: 'info', time: AT, ...line })}\n`);
  await writeFile(layout.log('model-host'), text.join(''));
  const signer = signerFromPem(generateKeyPair().privatePem);
  const dir = layout.host.ledger;
  const ledger = await openLedger({ dir, signer, origin: 'test', fsync: false });
  for (const record of records) await ledger.append(record);
  await ledger.close();
  const where = { dir, signer, origin: 'test', fsync: false };
  return { signer, ledger: where, why: (id: string) => made.zl(['why', id]) };
}

function turnEnded(turnId: string) {
  return { turn_id: turnId, ...WHO, outcome: 'done', error_id: 'none', msg: 'turn ended' };
}

test('[CLI-02] why asks for more digits where several turns begin with the same', async (t) => {
  const lines = ['aaaa1', 'aaaa2'].map((start) => turnEnded(start.padEnd(32, '0')));
  const { why } = await told(t, { lines });
  const { status, stderr } = await why('aaaa');
  assert.equal(status, 2);
  assert.match(stderr, /aaaa begins the ids of several turns: aaaa10+, aaaa20+/);
  assert.match((await why('AAAA2')).stdout, /^turn aaaa20+ done\n/);
});

test('[CLI-02] why explains a turn that the ledger does not hold from the log alone', async (t) => {
  const turnId = 'b'.repeat(32);
  const err = { type: 'ZlError', message: 'asked \u202etwice' };
  const ended = { ...turnEnded(turnId), outcome: 'failed', error_id: 'provider.failed', err };
  const { why } = await told(t, { lines: [ended] });
  const { stdout } = await why('last');
  assert.match(stdout, /^turn b{32} failed\n/);
  assert.match(stdout, /error {5}provider\.failed: asked twice\n/);
  assert.match(stdout, /record {4}none in the ledger\n/);
});

test('[CLI-02] why reports a receipt that does not verify', async (t) => {
  const stranger = signerFromPem(generateKeyPair().privatePem);
  const turnId = 'd'.repeat(32);
  const receipt: Receipt = {
    ...{ role: 'host', executor: 'device', callId: CALL, tool: 'fs.read', outcome: 'failed' },
    ...{ argumentsDigest: digestOf({}), errorId: 'tool.failed', caps: {}, elapsedUs: 5 },
    ...{ startedAt: AT, turnId, ...WHO },
  };
  const body = {
    callId: CALL,
    argumentSalt: '5a'.repeat(16),
    receipt: await signReceipt(receipt, stranger),
  };
  const { why } = await told(t, { records: [{ kind: 'call.receipt', body }] });
  const { stdout } = await why(CALL.slice(0, 8));
  assert.match(stdout, /^turn d{32} has no end\n/);
  assert.match(stdout, /\ncall c{32} fs\.read failed\n/);
  assert.match(stdout, /error {5}tool\.failed\n {12}\S/);
  assert.match(stdout, /receipt {3}does not verify: /);
});

test('[CLI-02] why reads no more of a long ledger than its turn needs', async (t) => {
  const ids = Array.from({ length: 40 }, (_, n) => `${n}`.padStart(4, '0').padEnd(32, 'e'));
  const counts = { steps: 1, inputTokens: 1, outputTokens: 1, callIds: [] };
  const { why, ledger } = await told(t, { records: [] });
  let nowMs = Date.parse(AT);
  const writing = await openLedger({ ...ledger, maxSegmentBytes: 2_000, nowMs: () => nowMs });
  for (const turnId of ids) {
    const startedAt = new Date(nowMs + 1_000).toISOString();
    nowMs += 2_000;
    const endedAt = new Date(nowMs).toISOString();
    const body = {
      turnId,
      sessionId: 's',
      ...WHO,
      outcome: 'done',
      ...counts,
      startedAt,
      endedAt,
    } as const;
    await writing.append({ kind: 'turn', body });
  }
  await writing.close();
  const [oldest = '', ...others] = (await readdir(ledger.dir)).filter((it) => it.endsWith('jsonl'));
  assert.ok(others.length > 3);
  await writeFile(join(ledger.dir, oldest), 'not a record\n');
  const last = await why('last');
  assert.match(last.stdout, /^turn 0039e+ done\n/);
  assert.doesNotMatch(last.stdout, /ledger\.corrupt/);
  assert.doesNotMatch((await why(ids[30]!)).stdout, /ledger\.corrupt/);
  // Its first digits could begin any turn.
  assert.match((await why('0030')).stdout, /ledger\.corrupt/);
});

test('[CLI-02] why explains the newest of many turns, and any older one by its id', async (t) => {
  const ids = Array.from({ length: 100 }, (_, n) => `${n}`.padStart(4, '0').padEnd(32, 'e'));
  const counts = { steps: 1, inputTokens: 1, outputTokens: 1, callIds: [] };
  const records = ids.map((turnId): LedgerEntry => {
    const times = { startedAt: AT, endedAt: '2026-01-02T03:04:06.000Z' };
    const body = { turnId, sessionId: 's', ...WHO, outcome: 'done', ...counts, ...times } as const;
    return { kind: 'turn', body };
  });
  const { why } = await told(t, { records });
  assert.match((await why('last')).stdout, /^turn 0099e+ done\n/);
  const first = (await why('0000')).stdout;
  assert.match(first, /^turn 0000e+ done\n {2}when {6}\S+ after 1 step in 1000\.0 ms\n/);
  assert.match(first, /record {4}in the ledger\n/);
});
