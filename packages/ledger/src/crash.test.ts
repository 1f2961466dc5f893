import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { ORIGIN, useLedgerDirectory } from '../test/ledger-fixture.ts';
import { openLedger } from './ledger.ts';
import { readLedger } from './read.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();
const program = join(import.meta.dirname, '../test/append-until-killed.ts');
const ROUNDS = 6;

test('[AUD-02] every record acknowledged before kill -9 is in the ledger, which verifies and continues', async () => {
  const { privatePem } = generateKeyPair();
  const signer = signerFromPem(privatePem);
  const keyFile = join(scratch.dir, 'key.pem');
  const dir = join(scratch.dir, 'ledger');
  writeFileSync(keyFile, privatePem);
  const acknowledged = new Map<number, string>();
  for (let round = 0; round < ROUNDS; round++) {
    await appendUntilKilled([dir, keyFile], 40 + round * 97, acknowledged);
    const ledger = await openLedger({ dir, origin: ORIGIN, signer });
    const open = ledger.openIntents().length;
    await ledger.close();
    const report = await verifyLedger(dir, { keys: [signer.verifier()], origin: ORIGIN });
    assert.ok(report.ok, JSON.stringify(report.firstBad));
    assert.equal(report.openIntents, open);
    const found = new Map<number, string>();
    for await (const { record, leafHash } of readLedger(dir)) found.set(record.index, leafHash);
    for (const [index, leaf] of acknowledged) assert.equal(found.get(index), leaf);
  }
  assert.ok(acknowledged.size > ROUNDS * 40);
});

async function appendUntilKilled(
  args: readonly string[],
  records: number,
  acknowledged: Map<number, string>,
): Promise<void> {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let left = records;
  // What had left the process before it died counts too.
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /^(\d+) ([0-9a-f]{64})$/.exec(line);
    if (found?.[2] !== undefined) acknowledged.set(Number(found[1]), found[2]);
    if (--left === 0) child.kill('SIGKILL');
  }
  const [, signal] = await closed;
  assert.equal(signal, 'SIGKILL');
}
