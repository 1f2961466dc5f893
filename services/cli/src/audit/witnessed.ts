import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import {
  type Checkpoint,
  claimedCheckpoint,
  type LedgerReport,
  type LedgerSource,
  readLedger,
  verifyCheckpoint,
} from '@zerolatency/ledger';
import { counted } from '@zerolatency/service/counted';
import type { Verifier } from '@zerolatency/signing';
import { readText } from '../input.ts';

/** A checkpoint in the folder of a device that witnesses ledgers. */
interface Witnessed extends Pick<Checkpoint, 'origin' | 'ledgerId'> {
  readonly file: string;
  readonly note: string;
  readonly records: number;
  readonly at: string;
  /** It did not continue the one that the device keeps. */
  readonly isRefused: boolean;
}

/** What a device witnessed, as it bears on one ledger. */
export interface Witness {
  readonly folder: string;
  readonly ofThis: readonly Witnessed[];
  readonly others: readonly Witnessed[];
}

export async function readWitness(folder: string, ledger: LedgerSource): Promise<Witness> {
  const names = await readdir(folder).catch((cause: Error) => {
    const what = `cannot read ${folder}: ${cause.message}`;
    throw new ZlError(
      'config.invalid',
      `${what}; a device keeps checkpoints there once witness.hostKeysDir of its bridge is set`,
    );
  });
  const files = names.filter((name) => /\.(checkpoint|refused)$/.test(name)).sort();
  const all = await Promise.all(files.map((name) => readOne(join(folder, name))));
  const ledgerId = await ledgerIdOf(ledger);
  const isOfThis = (one: Witnessed) => one.ledgerId === ledgerId;
  return { folder, ofThis: all.filter(isOfThis), others: all.filter((one) => !isOfThis(one)) };
}

async function readOne(file: string): Promise<Witnessed> {
  const note = await readText(file);
  const checkpoint = claimedCheckpoint(note);
  if (checkpoint === undefined) throw new ZlError('config.invalid', `${file} is not a checkpoint`);
  const { origin, ledgerId, size: records } = checkpoint;
  const at = (await stat(file)).mtime.toISOString();
  return { file, note, origin, ledgerId, records, at, isRefused: file.endsWith('.refused') };
}

/** Empty when the first record cannot be read, which the verification reports. */
async function ledgerIdOf(ledger: LedgerSource): Promise<string> {
  const first = await readLedger(ledger)
    .next()
    .catch(() => undefined);
  const record = first?.value?.record;
  return record?.kind === 'ledger.opened' ? record.body.ledgerId : '';
}

/** Other ledgers that the same host signed under the same name. In a folder it has one at a time. */
export function replacedBy(
  { origin }: LedgerReport,
  { others }: Witness,
  {
    hostKeys,
    besideIds = [],
  }: { readonly hostKeys: readonly Verifier[]; readonly besideIds?: readonly string[] | undefined },
): readonly Witnessed[] {
  return others.filter(
    (other) =>
      !other.isRefused &&
      other.origin === origin &&
      !besideIds.includes(other.ledgerId) &&
      verifyCheckpoint(other.note, hostKeys).value !== undefined,
  );
}

export function witnessLines(
  report: LedgerReport,
  { folder, ofThis }: Witness,
  replaced: readonly Witnessed[],
): string[] {
  const settled = report.verdict === 'altered' ? [] : ofThis.filter(({ isRefused }) => isRefused);
  return [
    ...ofThis.map(({ file, records, at, isRefused }) => {
      const how = isRefused ? 'refused by the device' : 'witnessed';
      return `${how}: ${counted(records, 'record')} at ${at} (${file})`;
    }),
    ...replaced.map(
      ({ file, ledgerId, records, at }) =>
        `not here: ledger ${ledgerId} of the same host, witnessed with ${counted(records, 'record')} at ${at} (${file})`,
    ),
    ...settled.map(
      ({ file }) =>
        `the ledger holds the refused checkpoint too, so only its proof was wrong: remove ${file}`,
    ),
    ...(ofThis.length === 0 ? [`not checked: ${folder} holds no checkpoint of this ledger`] : []),
  ];
}
