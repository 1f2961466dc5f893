import { ZlError } from '@zerolatency/errors';
import { exportLedger } from '@zerolatency/ledger';
import { listLedgers } from '@zerolatency/ledger/postgres';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { type DatabaseOptions, withDatabase, withLedger } from '../audit/ledger-place.ts';
import { EXIT_STATUS, print, printJson, type Terminal } from '../terminal.ts';

export async function auditList(
  terminal: Terminal,
  { json = false, ...options }: DatabaseOptions & { readonly json?: boolean },
): Promise<number> {
  const ledgers = await withDatabase(options, terminal.env, listLedgers);
  for (const ledger of ledgers) {
    const { ledgerId, origin, openedAt, endedAt } = ledger;
    const ended = endedAt === null ? 'open' : `ended ${endedAt.toISOString()}`;
    if (json) printJson(terminal, ledger);
    else {
      const times = `opened ${openedAt.toISOString()}  ${ended}`;
      print(terminal, foreignLine(`${ledgerId}  ${times}  ${origin}`));
    }
  }
  if (ledgers.length === 0 && !json) print(terminal, 'the database has no ledger yet');
  return EXIT_STATUS.ok;
}

export async function auditExport(
  terminal: Terminal,
  dir: string,
  options: DatabaseOptions & { readonly ledger?: string },
): Promise<number> {
  const folder = () => {
    throw new ZlError('request.invalid', 'name the database of the ledger with --postgres');
  };
  const { records, segments, bundles } = await withLedger(
    { ...options, folder },
    terminal.env,
    (ledger) => exportLedger(ledger, dir),
  );
  const parts = [counted(segments, 'segment'), counted(bundles, 'bundle')].join(' and ');
  print(terminal, foreignLine(`${counted(records, 'record')} in ${parts} written to ${dir}`));
  return EXIT_STATUS.ok;
}
