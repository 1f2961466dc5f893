import type { LedgerSource } from '@zerolatency/ledger';
import type { Command } from 'commander';
import type { LedgerPlace } from '../audit/ledger-place.ts';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./audit.ts');
const loadProofs = () => import('./audit-proof.ts');
const loadPlace = () => import('../audit/ledger-place.ts');

const PROOF_STATUS =
  '\nExit status: 0 proved, 1 not proved, 4 when the public key of the checkpoint is not there.';

const FOLDER = 'folder of the ledger; default: the ledger of this installation';

/** The options by which a command reads a ledger in PostgreSQL in place of a folder. */
export function fromPostgres(command: Command): Command {
  return withDatabaseOptions(command).option(
    '--ledger <id>',
    'which ledger of the database, by its id or first digits ("zl audit list" lists them)',
  );
}

function withDatabaseOptions(command: Command): Command {
  return command
    .option(
      '--postgres <env:NAME or file:PATH>',
      'variable or file that holds the URL of a PostgreSQL database with ledgers',
    )
    .option(
      '--postgres-ca <pem>',
      'authority by which the server is verified; required unless it is on this machine',
    );
}

export function addAuditCommands(program: Command, context: CommandContext): void {
  const audit = program.command('audit').description('read and verify a ledger');
  addReadingCommands(audit, context);
  addProofCommands(audit, context);
  addDatabaseCommands(audit, context);
}

function addReadingCommands(audit: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  fromPostgres(audit.command('show'))
    .description('print the records of a ledger')
    .argument('[folder]', FOLDER)
    .option('--turn <id>', 'print only the records of this turn')
    .option('--json', 'print one JSON record per line')
    .action(async (dir, options) =>
      finish(
        inLedger(context, { dir, ...options }, async (ledger) =>
          (await load()).auditShow(terminal, ledger, options),
        ),
      ),
    );
  fromPostgres(audit.command('verify'))
    .description('verify every record, receipt and checkpoint with public keys')
    .argument('[folder]', FOLDER)
    .option(
      '--host-keys <folder or pem>',
      'public keys of hosts; default: those of this installation',
    )
    .option(
      '--device-keys <folder or pem>',
      'public keys of devices; default: those of this installation',
    )
    .option(
      '--checkpoint <file...>',
      'checkpoints kept elsewhere, which the ledger must still agree with',
    )
    .option(
      '--witness [folder]',
      'hold the ledger to what a device witnessed; default: the device of this installation',
    )
    .option('--strict', 'refuse records above the newest checkpoint')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit status: 0 valid, 1 altered (or unsigned, with --strict), 4 when something could not be checked.',
    )
    .action(async (dir, options) =>
      finish(
        inLedger(context, { dir, ...options }, async (ledger, besideIds) =>
          (await load()).auditVerify(terminal, ledger, {
            besideIds,
            json: options.json,
            checkpoints: options.checkpoint,
            strict: options.strict,
            ...(options.witness !== undefined && {
              witness: options.witness === true ? layout().device.witness : options.witness,
            }),
            hostKeys: options.hostKeys ?? layout().receiptKeys.host,
            deviceKeys: options.deviceKeys ?? layout().receiptKeys.device,
          }),
        ),
      ),
    );
}

function addProofCommands(audit: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  fromPostgres(audit.command('prove'))
    .description(
      'print a proof that a record is in the ledger, or that earlier records are unchanged',
    )
    .argument('[folder]', FOLDER)
    .option(
      '--record <index or audit id>',
      'prove that the ledger holds this record (C2SP tlog-proof)',
    )
    .option('--since <file>', 'prove that the ledger continues this checkpoint (C2SP tlog-witness)')
    .option(
      '--checkpoint <file>',
      'prove it for this checkpoint; default: the newest of the ledger',
    )
    .action(async (dir, options) =>
      finish(
        inLedger(context, { dir, ...options }, async (ledger) =>
          (await loadProofs()).auditProve(terminal, ledger, options),
        ),
      ),
    );
  audit
    .command('check-proof')
    .description('check a proof with public keys alone, without the ledger')
    .argument('<file>', 'output of zl audit prove')
    .option('--record <audit id or file>', 'the record to check')
    .option('--since <file>', 'the earlier checkpoint, kept elsewhere')
    .option(
      '--host-keys <folder or pem>',
      'public keys of hosts; default: those of this installation',
    )
    .addHelpText('after', PROOF_STATUS)
    .action(async (file, options) =>
      finish(
        (await loadProofs()).auditCheckProof(terminal, file, {
          ...options,
          hostKeys: options.hostKeys ?? layout().receiptKeys.host,
        }),
      ),
    );
}

function addDatabaseCommands(audit: Command, { terminal, finish }: CommandContext): void {
  withDatabaseOptions(audit.command('list'))
    .description('list the ledgers of a PostgreSQL database')
    .option('--json', 'print one JSON object per line')
    .action(async (options) => {
      const { auditList } = await import('./audit-database.ts');
      await finish(auditList(terminal, options));
    });
  fromPostgres(audit.command('export'))
    .description('write a ledger of a PostgreSQL database into a folder of files')
    .argument('<folder>', 'a new folder; "zl audit verify" and docs/verify.md read it offline')
    .action(async (dir, options) => {
      const { auditExport } = await import('./audit-database.ts');
      await finish(auditExport(terminal, dir, options));
    });
}

/** Where neither a folder nor a database is named, the installation has the ledger. */
async function inLedger(
  { terminal, installed }: CommandContext,
  place: Omit<LedgerPlace, 'folder'>,
  read: (ledger: string | LedgerSource, ids: readonly string[]) => Promise<number>,
): Promise<number> {
  const { withLedger } = await loadPlace();
  return withLedger({ ...place, folder: () => installed().host.ledger }, terminal.env, read);
}
