import assert from 'node:assert/strict';
import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { test } from 'node:test';
import { openLedger } from '@zerolatency/ledger';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import {
  argumentsDigest,
  audited,
  CALL_ID,
  policyDigest,
  segmentOf,
  TENANT,
  TURN_ID,
  USER,
} from '../../test/audited.ts';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { runZl } from '../../test/installed.ts';
import { auditShow } from './audit.ts';

test('an intact ledger verifies offline, with public keys only', async (t) => {
  const { verify } = await audited(t);
  const { status, stdout } = await verify();
  assert.equal(status, 0, stdout);
  assert.match(stdout, /^Ledger [0-9a-f]{32} of zerolatency\/test\n/);
  assert.match(stdout, /^ {2}call\.receipt +1$/m);
  assert.match(stdout, /^ {2}1 decision made again with the bundles kept$/m);
  assert.match(stdout, /\nValid: 5 records, root \S+, the checkpoint covers 5\n$/);
  const report = JSON.parse((await verify('--json')).stdout);
  assert.deepEqual([report.ok, report.records, report.openIntents], [true, 5, 0]);
  assert.match(stdout, new RegExp(`^Ledger ${report.ledgerId} `));
});

test('an altered record is named, and the exit status is 1', async (t) => {
  const { ledgerDir, verify } = await audited(t);
  const segment = await segmentOf(ledgerDir);
  const text = await readFile(segment, 'utf8');
  await writeFile(segment, text.replace('"user":"user-1"', '"user":"user-9"'));
  const { status, stdout } = await verify();
  assert.equal(status, 1);
  assert.match(
    stdout,
    /^Altered: record 2, \S+, line 3 was altered\. Intact before it: 2 records, root \S+, /m,
  );
  const report = JSON.parse((await verify('--json')).stdout);
  assert.deepEqual([report.ok, report.firstBad.index], [false, 2]);
});

test('records cut off the end are noticed', async (t) => {
  const { ledgerDir, verify } = await audited(t);
  const segment = await segmentOf(ledgerDir);
  const lines = (await readFile(segment, 'utf8')).trimEnd().split('\n');
  await writeFile(segment, `${lines.slice(0, -1).join('\n')}\n`);
  const { status, stdout } = await verify();
  assert.equal(status, 1);
  assert.match(stdout, /^Altered: record 4 is missing: a checkpoint covers 5/m);
});

test('a ledger shorter than a checkpoint kept elsewhere is not valid', async (t) => {
  const { dir, ledgerDir, signer, verify } = await audited(t);
  const older = join(dir, 'older');
  await cp(ledgerDir, older, { recursive: true });
  const ledger = await openLedger({ dir: ledgerDir, signer, origin: 'zerolatency/test' });
  await ledger.append({ kind: 'host.stopped', body: { version: '1.2.3' } });
  await ledger.close();
  const kept = join(dir, 'checkpoint');
  await cp(join(ledgerDir, 'checkpoint'), kept);
  assert.equal((await verify('--checkpoint', kept)).status, 0);
  await rm(ledgerDir, { recursive: true });
  await rename(older, ledgerDir);
  assert.equal((await verify()).status, 0);
  const { status, stdout } = await verify('--checkpoint', kept);
  assert.equal(status, 1);
  assert.match(stdout, /^Altered: record 5 is missing: a checkpoint covers 6/m);
});

test('[AUD-01] signatures whose keys nobody gave are listed as not checked, with status 4', async (t) => {
  const { dir, ledgerDir, signer, zl } = await audited(t);
  const stranger = join(dir, 'stranger.pem');
  await writeFile(stranger, generateKeyPair().publicPem);
  const keys = ['--host-keys', stranger, '--device-keys', stranger];
  const { status, stdout } = await zl('verify', ledgerDir, ...keys);
  assert.equal(status, 4, stdout);
  assert.match(stdout, /not checked: the checkpoint's signature by key hash [0-9a-f]{8}; add its/);
  assert.match(stdout, new RegExp(`host key ${signer.keyid}; add it to ${stranger}`));
  assert.match(stdout, /\nNot altered, and not checked in full: 5 records, root /);
  const none = await zl('verify', ledgerDir, '--host-keys', join(dir, 'none'), ...keys.slice(2));
  assert.equal(none.status, 1);
  assert.match(none.stderr, /config\.invalid: .* is neither a \.pem file nor a folder of them/);
});

test('[AUD-01] a bundle that is not kept leaves its decisions unchecked, with status 4', async (t) => {
  const { ledgerDir, verify } = await audited(t);
  await rm(join(ledgerDir, 'bundles'), { recursive: true });
  const { status, stdout } = await verify();
  assert.equal(status, 4, stdout);
  assert.ok(stdout.includes(`not checked: decisions by policy ${policyDigest}, which is not in `));
  assert.match(stdout, /\nNot altered, and not checked in full: 5 records, root /);
});

test('[AUD-01] records that no checkpoint covers yet are listed, and refused with --strict', async (t) => {
  const { dir, ledgerDir, signer, verify, zl } = await audited(t);
  const options = { dir: ledgerDir, signer, origin: 'zerolatency/test' };
  const ledger = await openLedger({ ...options, checkpointEveryMs: 2 ** 30 });
  await ledger.append({ kind: 'host.started', body: { version: '1.2.3' } });
  await ledger.append({ kind: 'host.stopped', body: { version: '1.2.3' } });
  const whileItRuns = await verify();
  assert.equal(whileItRuns.status, 0, whileItRuns.stdout);
  assert.match(whileItRuns.stdout, /^ {2}unsigned yet: records 5 to 6$/m);
  const strict = await verify('--strict');
  assert.equal(strict.status, 1);
  assert.match(strict.stdout, /\nRefused: 2 records are unsigned\. 7 records, root /);
  const above = await zl('prove', ledgerDir, '--record', '6');
  assert.match(above.stderr, /record 6 is not covered, and the checkpoint covers 5 records/);
  await ledger.close();
  assert.equal((await verify('--strict')).status, 0);
  assert.equal((await zl('prove', ledgerDir, '--record', '6')).status, 0, dir);
});

test('show prints each record in one line, or as JSON', async (t) => {
  const { show } = await audited(t);
  const { status, stdout } = await show();
  assert.equal(status, 0);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, 5);
  assert.match(
    lines[2] ?? '',
    new RegExp(`^ +2 {2}\\S+ {2}call.intent +${CALL_ID} {2}fs.read {2}user-1@north$`),
  );
  assert.match(lines[3] ?? '', /fs\.read {2}failed tool\.failed in 1\.2 ms$/);
  const records = (await show('--json')).stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    records.map(({ index, kind }) => [index, kind]),
    [
      [0, 'ledger.opened'],
      [1, 'policy.changed'],
      [2, 'call.intent'],
      [3, 'call.receipt'],
      [4, 'host.stopped'],
    ],
  );
  assert.equal((await show('--turn', TURN_ID)).stdout.trimEnd().split('\n').length, 2);
  const { status: missing, stdout: none, stderr } = await show('--turn', 'another');
  assert.deepEqual([missing, none], [1, '']);
  assert.match(stderr, /no record .* names turn another/);
});

test('show names the call that started a nested turn', async (t) => {
  const dir = tempDir(t);
  const signer = signerFromPem(generateKeyPair().privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'zerolatency/test' });
  const at = '2026-01-02T03:04:05.000Z';
  const body = {
    sessionId: 'session-1',
    tenant: TENANT,
    user: USER,
    outcome: 'done' as const,
    steps: 1,
    inputTokens: 1,
    outputTokens: 1,
    callIds: [],
    startedAt: at,
    endedAt: at,
  };
  await ledger.append({ kind: 'turn', body: { ...body, turnId: 'inner', parentCallId: CALL_ID } });
  await ledger.append({ kind: 'turn', body: { ...body, turnId: 'outer' } });
  await ledger.close();
  const { stdout } = await runZl(fakeTerminal({ cwd: dir }), ['audit', 'show', dir]);
  const [, inner, outer] = stdout.trimEnd().split('\n');
  assert.match(inner ?? '', new RegExp(`done after 1 step {2}started by call ${CALL_ID}$`));
  assert.match(outer ?? '', /done after 1 step$/);
});

test('show prints how a host ran and which policy it used', async (t) => {
  const dir = tempDir(t);
  const signer = signerFromPem(generateKeyPair().privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'zerolatency/test' });
  const bundle = { policyId: 'local@2', policyDigest: argumentsDigest, version: 2 };
  ledger.appendSoon({ kind: 'host.started', body: { version: '1.2.3' } });
  for (const state of ['active', 'stale', 'expired'] as const) {
    ledger.appendSoon({ kind: 'policy.changed', body: { state, ...bundle } });
  }
  ledger.appendSoon({ kind: 'policy.changed', body: { state: 'none' } });
  ledger.appendSoon({ kind: 'host.stopped', body: { version: '1.2.3', reason: 'SIGTERM' } });
  await ledger.close();
  const { stdout } = await runZl(fakeTerminal({ cwd: dir }), ['audit', 'show', dir]);
  const told = stdout.trimEnd().split('\n').slice(1);
  assert.deepEqual(
    told.map((line) => line.replace(/^ +\d+ {2}\S+ {2}(\S+) +/, '$1: ')),
    [
      'host.started: version 1.2.3',
      `policy.changed: local@2 is active  ${argumentsDigest}`,
      `policy.changed: local@2 is stale: only rules for its grace allow  ${argumentsDigest}`,
      `policy.changed: local@2 is expired: tools are denied  ${argumentsDigest}`,
      'policy.changed: no bundle: tools are denied',
      'host.stopped: version 1.2.3, SIGTERM',
    ],
  );
});

test('a folder without a ledger is reported without a stack trace', async (t) => {
  const { dir, zl } = await audited(t);
  const { status, stdout, stderr } = await zl('show', join(dir, 'none'));
  assert.deepEqual([status, stdout], [1, '']);
  assert.equal((await zl('verify', join(dir, 'none'))).status, 1);
  assert.match(stderr, /^zl: file\.unusable: .*none holds no ledger; .*\n {4}/);
});

test('the name of a tool cannot control the terminal', async (t) => {
  const { show } = await audited(t, { tool: 'fs.\u001b[2J\u009bread\n     9 all well' });
  assert.doesNotMatch((await show()).stdout, /[^\P{Cc}\n]/u);
  assert.doesNotMatch((await show('--json')).stdout, /[^\P{Cc}\n]/u);
});

test('a ledger is read no faster than its reader reads', async (t) => {
  const dir = join(tempDir(t), 'ledger');
  const signer = signerFromPem(generateKeyPair().privatePem);
  const ledger = await openLedger({ dir, signer, origin: 'zerolatency/test' });
  const body = { version: 'x'.repeat(60) };
  await Promise.all(
    Array.from({ length: 2_000 }, () => ledger.append({ kind: 'host.stopped', body })),
  );
  await ledger.close();
  let waitingBytes = 0;
  let lines = 0;
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      lines += String(chunk).split('\n').length - 1;
      waitingBytes = Math.max(waitingBytes, stdout.writableLength);
      setImmediate(done);
    },
  });
  assert.equal(await auditShow({ ...fakeTerminal(), stdout }, dir, {}), 0);
  stdout.end();
  await finished(stdout);
  assert.ok(lines >= 2_000);
  assert.ok(waitingBytes <= 2 * stdout.writableHighWaterMark, `${waitingBytes} bytes`);
});
