import type { Command } from 'commander';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./audit.ts');
const loadProofs = () => import('./audit-proof.ts');

const PROOF_STATUS =
  '\nExit status: 0 proved, 1 not proved, 4 when the public key of the checkpoint is not there.';

export function addAuditCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout, installed } = context;
  const audit = program.command('audit').description('read and verify a ledger offline');
  audit
    .command('show')
    .description('print the records of a ledger')
    .argument('[folder]', 'folder of the ledger; default: the ledger of this installation')
    .option('--turn <id>', 'print only the records of this turn')
    .option('--json', 'print one JSON record per line')
    .action(async (dir, options) =>
      finish((await load()).auditShow(terminal, dir ?? installed().host.ledger, options)),
    );
  audit
    .command('verify')
    .description('verify every record, receipt and checkpoint with public keys')
    .argument('[folder]', 'folder of the ledger; default: the ledger of this installation')
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
        (await load()).auditVerify(terminal, dir ?? installed().host.ledger, {
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
    );
  audit
    .command('prove')
    .description(
      'print a proof that a record is in the ledger, or that earlier records are unchanged',
    )
    .argument('[folder]', 'folder of the ledger; default: the ledger of this installation')
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
      finish((await loadProofs()).auditProve(terminal, dir ?? installed().host.ledger, options)),
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
