import type { Command } from 'commander';
import type { CommandContext } from './command-context.ts';

// What the commands do is loaded once one is asked for.
const load = () => import('./audit.ts');

export function addAuditCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  const audit = program.command('audit').description('read and verify the ledger, offline');
  audit
    .command('show')
    .description('the records of a ledger')
    .argument('[folder]', 'default: the one of this installation')
    .option('--turn <id>', 'of one turn only')
    .option('--json', 'one record a line')
    .action(async (dir, options) =>
      finish((await load()).auditShow(terminal, dir ?? layout().host.ledger, options)),
    );
  audit
    .command('verify')
    .description('check every digest, signature and checkpoint with public keys only')
    .argument('[folder]', 'default: the one of this installation')
    .option('--host-keys <folder or pem>', 'public keys of hosts')
    .option('--device-keys <folder or pem>', 'public keys of devices')
    .option('--json', 'for programs')
    .action(async (dir, options) =>
      finish(
        (await load()).auditVerify(terminal, dir ?? layout().host.ledger, {
          json: options.json,
          hostKeys: options.hostKeys ?? layout().receiptKeys.host,
          deviceKeys: options.deviceKeys ?? layout().receiptKeys.device,
        }),
      ),
    );
}
