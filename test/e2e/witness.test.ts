import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeRecord, type LedgerRecord, recordLeafHash } from '@zerolatency/ledger';
import { type Signer, signerFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { type Checkpoint, signCheckpoint } from '../../packages/ledger/src/checkpoint.ts';
import { MerkleFrontier } from '../../packages/ledger/src/tree.ts';
import { probeAll } from '../../services/cli/src/commands/status.ts';
import { runTurn, type System, startSystem } from './system.ts';

/** More than were cut, so that a rewritten ledger is not shorter than what the device witnessed. */
const FORGED_RECORDS = 24;

/** A round follows a call within seconds, and much later on a busy machine. */
const SLOW = { timeoutMs: 60_000, everyMs: 100 };

test('[AUD-04] a device shows that the ledger it witnessed was rewritten with the real key', async (t) => {
  const system = await startSystem(t);
  const { layout } = system;
  await callOnce(system);
  const [witnessed] = await eventually(async () => {
    const { ledgers } = (await reportOf(system, 'device-bridge')).witness;
    return ledgers.length > 0 ? ledgers : undefined;
  }, SLOW);
  const honest = await system.zl('audit', 'verify', '--witness');
  assert.equal(honest.status, 0, honest.stdout + honest.stderr);
  assert.match(honest.stdout, new RegExp(` witnessed: ${witnessed.records} records at .*\\nValid`));

  await system.stop('model-host');
  const signer = signerFromPem(readFileSync(layout.host.key, 'utf8'));
  const origin = witnessed.origin;
  await rewrite(layout.host.ledger, { signer, origin, ledgerId: witnessed.ledgerId });
  rmSync(join(layout.host.state, 'ledger-floor.json'));
  await system.start('model-host');
  await system.healthy();
  await callOnce(system);

  const doubt = await eventually(async () => {
    const { state, why } = (await reportOf(system, 'device-bridge')).witness;
    return state === 'doubtful' ? why : undefined;
  }, SLOW);
  assert.match(doubt, /may have been rewritten: its checkpoint over \d+ records does not continue/);
  const { stdout: status } = await system.zl('status');
  assert.match(
    status,
    /witnesses is degraded: device this-machine of local keeps a checkpoint over/,
  );
  assert.match(status, /witness is doubtful: ledger [0-9a-f]{32} of .* may have been rewritten/);
  await system.stop('model-host');
  const alone = await system.zl('audit', 'verify');
  assert.equal(alone.status, 0, alone.stdout + alone.stderr);
  const held = await system.zl('audit', 'verify', '--witness');
  assert.equal(held.status, 1, held.stdout + held.stderr);
  assert.match(held.stdout, /Altered: record \d+, .* differs from the checkpoint/);
});

/** What whoever holds the key and the disk can do: nothing in the ledger itself shows it. */
async function rewrite(
  dir: string,
  { signer, ...ledger }: { signer: Signer } & Pick<Checkpoint, 'origin' | 'ledgerId'>,
): Promise<void> {
  const [name = ''] = readdirSync(dir).filter((each) => each.startsWith('segment-'));
  const lines = readFileSync(join(dir, name), 'utf8').trimEnd().split('\n');
  const records = lines.map((line): LedgerRecord => JSON.parse(line));
  const kept = records.slice(
    0,
    records.findIndex(({ kind }) => kind === 'call.intent'),
  );
  const forged = Array.from({ length: FORGED_RECORDS }, (_, i) => ({
    kind: i % 2 === 0 ? ('host.stopped' as const) : ('host.started' as const),
    body: { version: '0.1.0' },
  }));
  const tree = new MerkleFrontier();
  let prev = '0'.repeat(64);
  const [first] = records;
  const written = [...kept, ...forged].map((record, index) => {
    const place = { v: first!.v, index, at: first!.at, prev, synced: index };
    const { line } = encodeRecord({ ...record, ...place } as LedgerRecord);
    const leaf = recordLeafHash(line.toString('utf8').trimEnd());
    prev = Buffer.from(leaf).toString('hex');
    tree.push(leaf);
    return line.toString('utf8');
  });
  writeFileSync(join(dir, name), written.join(''));
  const checkpoint = { ...ledger, size: tree.size, root: tree.root() };
  writeFileSync(join(dir, 'checkpoint'), await signCheckpoint(checkpoint, signer));
}

async function callOnce(system: System): Promise<void> {
  const session = await system.chat();
  const { calls } = await runTurn(session, 'read welcome.txt');
  session.close();
  assert.deepEqual(
    calls.map(({ outcome }) => outcome),
    ['DONE'],
  );
}

async function reportOf({ settings }: System, component: string) {
  const probe = (await probeAll(settings)).find(({ name }) => name === component);
  return JSON.parse(JSON.stringify(probe?.report ?? {}));
}
