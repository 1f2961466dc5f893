import { fromUnknown } from '@zerolatency/errors';
import { Command, CommanderError } from 'commander';
import { addAuditCommands } from './commands/audit-commands.ts';
import { chat } from './commands/chat.ts';
import type { Finish } from './commands/command-context.ts';
import { devices } from './commands/devices.ts';
import { addPolicyCommands } from './commands/policy-commands.ts';
import { status } from './commands/status.ts';
import { down, up } from './commands/up.ts';
import { findHome, layoutOf } from './installation/layout.ts';
import { readSettings } from './settings.ts';
import { exitStatus, type Terminal } from './terminal.ts';

/** Runs one command line; the number is the exit status. */
export async function runProgram(argv: readonly string[], terminal: Terminal): Promise<number> {
  let result: number = exitStatus.ok;
  const finish: Finish = async (work) => {
    result = await work;
  };
  try {
    await buildProgram(terminal, finish).parseAsync(argv, { from: 'user' });
    return result;
  } catch (reason) {
    if (!(reason instanceof CommanderError)) return tell(terminal, reason);
    return reason.exitCode === 0 ? exitStatus.ok : exitStatus.usage;
  }
}

function buildProgram(terminal: Terminal, finish: Finish): Command {
  const program = new Command('zl')
    .description('Talk to a Zero Latency installation, and look after it.')
    .option('--home <folder>', 'the installation (default: the nearest .zl; or ZL_HOME)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
  const layout = () =>
    layoutOf(findHome(terminal.cwd, program.opts().home ?? terminal.env.ZL_HOME));
  const settings = () => readSettings(layout().settings);

  program
    .command('up')
    .description('start host, relay and bridge on this machine, and run a first chat')
    .action(() => finish(up(terminal, layout())));
  program
    .command('down')
    .description('stop what up started')
    .action(() => finish(down(terminal, layout())));
  program
    .command('status')
    .description('name, version, health and addresses of every component')
    .option('--json', 'for programs')
    .action(async (options) => finish(status(terminal, await settings(), options)));
  program
    .command('devices')
    .description('the connected devices and their tools')
    .option('--json', 'for programs')
    .action(async (options) => finish(devices(terminal, await settings(), options)));
  program
    .command('chat')
    .description('talk; with a message: one turn, and an exit status that tells how it ended')
    .argument('[message...]')
    .option('--json', 'one event a line')
    .option('--device <id>', 'the device whose tools may be used')
    .option('--model <alias>', 'the model to ask')
    .action(async (words, options) => finish(chat(terminal, await settings(), { words, options })));
  addPolicyCommands(program, { terminal, finish, layout });
  addAuditCommands(program, { terminal, finish, layout });
  return program;
}

/** The one place where a command's failure is told. */
function tell(terminal: Terminal, reason: unknown): number {
  const error = fromUnknown(reason);
  // At one's own machine the cause of an internal error is no secret.
  const cause = error.id === 'internal' && error.cause instanceof Error ? error.cause : undefined;
  terminal.stderr.write(`zl: ${error.id}: ${cause?.message ?? error.message}\n    ${error.help}\n`);
  return exitStatus.failed;
}
