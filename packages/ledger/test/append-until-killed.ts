import { readFileSync } from 'node:fs';
import { signerFromPem } from '@zerolatency/signing';
import { openLedger } from '../src/ledger.ts';
import { intent, ORIGIN, receipt } from './ledger-fixture.ts';

/** Appends as fast as it can and prints each acknowledged index, until it is killed. */
const [dir = '', keyFile = ''] = process.argv.slice(2);
const signer = signerFromPem(readFileSync(keyFile, 'utf8'));
const OPTIONS = { maxSegmentBytes: 20_000, checkpointEveryMs: 5 };
const ledger = await openLedger({ dir, origin: ORIGIN, signer, ...OPTIONS });

let next = ledger.size;
async function appendForever(): Promise<never> {
  for (;;) {
    const number = next++;
    for (const entry of [intent(number), await receipt(number, signer)]) {
      const { index, leafHash } = await ledger.append(entry);
      // Waits for a reader that is behind, where writeSync would fail.
      process.stdout.write(`${index} ${leafHash}\n`);
    }
  }
}
await Promise.all(Array.from({ length: 8 }, appendForever));
