import { Command, CommanderError } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { addAuditCommands } from './commands/audit-commands.ts';
import type { CommandContext, Finish } from './commands/command-context.ts';
import { addManifestCommands } from './commands/manifest-commands.ts';
import { addPolicyCommands } from './commands/policy-commands.ts';
import { tellFailure } from './failure.ts';
import { findHome, layoutOf } from './installation/layout.ts';
import { readSettings } from './settings.ts';
import { exitStatus, type Terminal } from './terminal.ts';

// A command loads what it needs once it is asked for: most need little of the whole.
const load = {
  chat: () => import('./commands/chat.ts'),
  devices: () => import('./commands/devices.ts'),
  status: () => import('./commands/status.ts'),
  token: () => import('./commands/token.ts'),
  up: () => import('./commands/up.ts'),
};

const epilogue = `
Exit status:
  0    done
  1    no: denied, failed, not valid, not healthy
  2    the command line is wrong
  3    the host or the relay cannot be reached
  130  interrupted

ZL_HOME names an installation as --home does. NO_COLOR turns colours off.`;

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
    if (!(reason instanceof CommanderError)) return tellFailure(terminal, reason);
    return reason.exitCode === 0 ? exitStatus.ok : exitStatus.usage;
  }
}

function buildProgram(terminal: Terminal, finish: Finish): Command {
  const program = new Command('zl')
    .description('Talk to a Zero Latency installation, and look after it.')
    .version(manifest.version, '--version', 'print the version')
    .option('--home <folder>', 'the installation (default: the nearest .zl)')
    .addHelpText('after', epilogue)
    // Commands inherit these, so they come before the first one.
    .exitOverride()
    .showHelpAfterError('(add --help to see how it is used)')
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
  const layout = () =>
    layoutOf(findHome(terminal.cwd, program.opts().home ?? terminal.env.ZL_HOME));
  const context: CommandContext = { terminal, finish, layout };
  addInstallationCommands(program, context);
  addChatCommands(program, context);
  addPolicyCommands(program, context);
  addManifestCommands(program, context);
  addAuditCommands(program, context);
  return program;
}

function addInstallationCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  program
    .command('up')
    .description('start host, relay and bridge on this machine, and run a first chat')
    .action(async () => finish((await load.up()).up(terminal, layout())));
  program
    .command('down')
    .description('stop what up started')
    .action(async () => finish((await load.up()).down(terminal, layout())));
  program
    .command('status')
    .description('name, version, health and addresses of every component')
    .option('--json', 'for programs')
    .action(async (options) => {
      const { status } = await load.status();
      await finish(status(terminal, await readSettings(layout().settings), options));
    });
  program
    .command('devices')
    .description('the connected devices and their tools')
    .option('--json', 'for programs')
    .action(async (options) => {
      const { devices } = await load.devices();
      await finish(devices(terminal, await readSettings(layout().settings), options));
    });
}

function addChatCommands(program: Command, { terminal, finish, layout }: CommandContext): void {
  program
    .command('chat')
    .description('talk; with a message: one turn, and an exit status that tells how it ended')
    .argument('[message...]')
    .option('--json', 'one event a line')
    .option('--device <id>', 'the device whose tools may be used')
    .option('--no-device', 'use no device, and so no tools')
    .option('--model <alias>', 'the model to ask')
    .action(async (words, options) => {
      const { chat } = await load.chat();
      await finish(chat(terminal, await readSettings(layout().settings), { words, options }));
    });
  program
    .command('token')
    .description('print a token for other clients of the host, good for ten minutes')
    .action(async () => {
      const { token } = await load.token();
      await finish(token(terminal, await readSettings(layout().settings)));
    });
}
