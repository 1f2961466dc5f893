// What a durable record costs the host: group commit against one write and fsync each.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Ledger, type LedgerEntry, openLedger } from '@zerolatency/ledger';
import { RECEIPT_TYPE } from '@zerolatency/receipts';
import { digestOf, generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { percentile, report } from './report.ts';

const ROUNDS = 5;
const FLOOR_RECORDS = 500;
const ALONE_RECORDS = 500;
const SHARED_RECORDS = 8_000;
const WRITERS = 64;

// Not /tmp, which may be memory, where an fsync costs nothing.
mkdirSync('bench/out', { recursive: true });
const scratch = mkdtempSync(join('bench/out', 'ledger-'));
const signer = signerFromPem(generateKeyPair().privatePem);
const argumentsDigest = digestOf({ path: 'welcome.txt' });
const ARGUMENT_SALT = '5a'.repeat(16);

const floorUs: number[] = [];
const aloneUs: number[] = [];
const sharedUs: number[] = [];
try {
  for (let round = 0; round < ROUNDS; round++) {
    const ledger = await openLedger({
      dir: join(scratch, String(round)),
      origin: 'bench/ledger',
      signer,
    });
    aloneUs.push(await perRecordUs(ledger, ALONE_RECORDS, 1));
    const lineBytes = Math.round(segmentBytes(round) / (ALONE_RECORDS * 2));
    floorUs.push(floor(join(scratch, `floor-${round}`), lineBytes));
    sharedUs.push(await perRecordUs(ledger, SHARED_RECORDS, WRITERS));
    await ledger.close();
  }
} finally {
  rmSync(scratch, { recursive: true });
}

const baseline = percentile(floorUs, 0.5);
report({
  name: 'ledger',
  method: `median of ${ROUNDS} rounds in turns; the floor writes and fsyncs each record by itself`,
  figures: [
    {
      metric: `durable record, ${WRITERS} at once`,
      value: percentile(sharedUs, 0.5),
      unit: 'us',
      baseline,
      goal: 0.5,
    },
    {
      metric: 'durable record, one at a time',
      value: percentile(aloneUs, 0.5),
      unit: 'us',
      baseline,
      goal: 2,
    },
  ],
});

/** Every second record is a call's intent, and the others close it. */
async function perRecordUs(ledger: Ledger, calls: number, writers: number): Promise<number> {
  let next = ledger.size;
  const last = next + calls;
  const write = async () => {
    while (next < last) for (const entry of recordsOf(next++)) await ledger.append(entry);
  };
  const started = process.hrtime.bigint();
  await Promise.all(Array.from({ length: writers }, write));
  return Number(process.hrtime.bigint() - started) / 1_000 / (calls * 2);
}

function recordsOf(number: number): LedgerEntry[] {
  const callId = number.toString(16).padStart(32, '0');
  const who = { tenant: 'local', user: 'me', deviceId: 'laptop' };
  const signatures = [{ keyid: signer.keyid, sig: 'x'.repeat(88) }];
  const digests = { argumentsDigest, argumentSalt: ARGUMENT_SALT };
  const receipt = { payloadType: RECEIPT_TYPE, payload: 'x'.repeat(900), signatures };
  return [
    {
      kind: 'call.intent',
      body: { callId, executor: 'device', tool: 'fs.read', ...digests, ...who },
    },
    { kind: 'call.receipt', body: { callId, argumentSalt: ARGUMENT_SALT, receipt } },
  ];
}

function floor(path: string, lineBytes: number): number {
  const args = ['bench/floors/fsync-append.ts', path, String(FLOOR_RECORDS), String(lineBytes)];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

function segmentBytes(round: number): number {
  return statSync(join(scratch, String(round), 'segment-0000000000000000.jsonl')).size;
}
