import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { acquireLock } from '@zerolatency/service/processes';
import { assertOrigin } from './checkpoint.ts';
import { Ledger } from './ledger.ts';
import type { LedgerOptions } from './ledger-options.ts';
import { recover } from './recover.ts';

/**
 * Cuts what a crash left of an unacknowledged write; anything else that does
 * not fit is ledger.corrupt. Rejects with ledger.failed while another process
 * holds the ledger.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const { dir, origin, signer, keys = [] } = options;
  assertOrigin(origin);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const lock = await acquireLock(join(dir, 'lock'), heldBy);
  try {
    const recovered = await recover({ dir, origin, keys: [signer.verifier(), ...keys] });
    const ledger = new Ledger(options, lock, recovered);
    await ledger.start(recovered);
    return ledger;
  } catch (reason) {
    await lock.release();
    throw reason;
  }
}

function heldBy(pid: number | undefined): ZlError {
  const who = pid === undefined ? 'another process' : `process ${pid}`;
  return new ZlError('ledger.failed', `${who} holds the ledger`);
}
