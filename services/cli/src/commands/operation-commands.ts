import { Argument, type Command } from 'commander';
import type { Service } from '../installation/processes.ts';
import type { CommandContext } from '../terminal.ts';
import { fromPostgres } from './audit-commands.ts';
import { candidates, SHELLS } from './completion.ts';

/** Not imported, because what starts processes would slow every command down. */
const COMPONENTS = [
  'model-host',
  'tool-relay',
  'registrar',
  'device-bridge',
] as const satisfies readonly Service[];

/** What a person asks when something does not work. */
export function addOperationCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  program
    .command('doctor')
    .description('check every hop from here to a tool, and suggest fixes')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { doctor } = await import('./doctor.ts');
      await finish(doctor(terminal, layout(), options));
    });
  fromPostgres(program.command('why'))
    .description('explain how a turn or call ended: decision, hops, error, receipt, log lines')
    .argument('[turn or call]', 'an id, its first digits, or "last"', 'last')
    .option('--json', 'print JSON')
    .action(async (subject, { json, ...place }) => {
      const { why } = await import('./why.ts');
      const { withLedger } = await import('../audit/ledger-place.ts');
      const folder = () => layout().host.ledger;
      await finish(
        withLedger({ ...place, folder }, terminal.env, (ledger) =>
          why(terminal, layout(), { subject, json, ledger }),
        ),
      );
    });
  program
    .command('logs')
    .description('show the last log lines of all components, by time')
    .addArgument(new Argument('[component]').choices(COMPONENTS))
    .option('-f, --follow', 'keep printing new lines')
    .action(async (component, { follow }) => {
      const { logs } = await import('./logs.ts');
      await finish(logs(terminal, layout(), { component, follow }));
    });
  program
    .command('completion')
    .description('print the completion script of a shell, such as: source <(zl completion bash)')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action(async (shell) => {
      const { completion } = await import('./completion.ts');
      await finish(Promise.resolve(completion(terminal, shell)));
    });
  program
    .command('complete', { hidden: true })
    .argument('[word...]')
    .action(async (words: string[]) => {
      for (const name of candidates(program, words)) terminal.stdout.write(`${name}\n`);
    });
}
