import type { Command } from 'commander';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./audit.ts');

export function addAuditCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  const audit = program.command('audit').description('read and verify a ledger offline');
  audit
    .command('show')
    .description('print the records of a ledger')
    .argument('[folder]', 'folder of the ledger; default: the ledger of this installation')
    .option('--turn <id>', 'print only the records of this turn')
    .option('--json', 'print one JSON record per line')
    .action(async (dir, options) =>
      finish((await load()).auditShow(terminal, dir ?? layout().host.ledger, options)),
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
    .option('--strict', 'refuse records that no checkpoint covers yet')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit status: 0 valid, 1 altered (or unsigned, with --strict), 4 when something could not be checked.',
    )
    .action(async (dir, options) =>
      finish(
        (await load()).auditVerify(terminal, dir ?? layout().host.ledger, {
          json: options.json,
          checkpoints: options.checkpoint,
          strict: options.strict,
          hostKeys: options.hostKeys ?? layout().receiptKeys.host,
          deviceKeys: options.deviceKeys ?? layout().receiptKeys.device,
        }),
      ),
    );
}
