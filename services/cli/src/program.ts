import { Command, CommanderError, InvalidArgumentError } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { addAuditCommands } from './commands/audit-commands.ts';
import { addManifestCommands } from './commands/manifest-commands.ts';
import { addOperationCommands } from './commands/operation-commands.ts';
import { addPolicyCommands } from './commands/policy-commands.ts';
import { addToolsCommands } from './commands/tools-commands.ts';
import { expectInstalled, findHome, type Layout, layoutOf } from './installation/layout.ts';
import type { Settings } from './settings.ts';
import {
  type CommandContext,
  EXIT_STATUS,
  type ExitWith,
  print,
  reportFailure,
  type Terminal,
} from './terminal.ts';

// Loaded on demand, so that `zl` starts fast.
const LOAD = {
  call: () => import('./commands/call.ts'),
  chat: () => import('./commands/chat.ts'),
  devices: () => import('./commands/devices.ts'),
  status: () => import('./commands/status.ts'),
  token: () => import('./chat/token.ts'),
  up: () => import('./commands/up.ts'),
  settings: () => import('./settings.ts'),
};

const EPILOGUE = `
Exit status:
  0    success
  1    denied, failed, invalid, not installed or unhealthy
  2    usage error: a command, option or argument that is not valid
  3    host, relay or registrar unreachable
  4    nothing wrong was found, and not everything could be checked
  130  interrupted

ZL_HOME has the same effect as --home. NO_COLOR disables colours.`;

/** Runs one command line and returns its exit status. */
export async function runProgram(argv: readonly string[], terminal: Terminal): Promise<number> {
  let result: number = EXIT_STATUS.ok;
  const finish: ExitWith = async (work) => {
    result = await work;
  };
  try {
    await buildProgram(terminal, finish).parseAsync(argv, { from: 'user' });
    return result;
  } catch (reason) {
    if (!(reason instanceof CommanderError)) return reportFailure(terminal, reason);
    return reason.exitCode === 0 ? EXIT_STATUS.ok : EXIT_STATUS.usage;
  }
}

function buildProgram(terminal: Terminal, finish: ExitWith): Command {
  const program = new Command('zl')
    .description('Chat with and manage a Zero Latency installation.')
    .version(manifest.version, '--version', 'print the version')
    .option('--home <folder>', 'folder of the installation (default: the nearest .zl)')
    .addHelpText('after', EPILOGUE)
    // Commands inherit these settings only when they are added afterwards.
    .exitOverride()
    .showHelpAfterError('(run with --help for usage)')
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    });
  const layout = () =>
    layoutOf(findHome(terminal.cwd, program.opts().home ?? terminal.env.ZL_HOME));
  const installed = () => expectInstalled(layout());
  const context: CommandContext = { terminal, finish, layout, installed };
  addInstallationCommands(program, context);
  addChatCommands(program, context);
  addToolsCommands(program, context);
  addPolicyCommands(program, context);
  addManifestCommands(program, context);
  addAuditCommands(program, context);
  addOperationCommands(program, context);
  return program;
}

function readRelays(given: string): number {
  const relays = Number(given);
  if (Number.isInteger(relays) && relays > 0) return relays;
  throw new InvalidArgumentError('It must be a number of relays.');
}

async function settingsOf({ settings }: Layout): Promise<Settings> {
  const { readSettings } = await LOAD.settings();
  return await readSettings(settings);
}

function addInstallationCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  program
    .command('up')
    .description('start host, relay, registrar and bridge on this machine and run a first chat')
    .option('--relays <number>', 'start a pool of relays with its own Redis', readRelays)
    .action(async (options) => finish((await LOAD.up()).up(terminal, layout(), options)));
  program
    .command('down')
    .description('stop what "zl up" started')
    .action(async () => finish((await LOAD.up()).down(terminal, layout())));
  program
    .command('status')
    .description('show the version, health and addresses of every component')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { status } = await LOAD.status();
      const place = layout();
      const settings = await settingsOf(place);
      await finish(status(terminal, { layout: place, settings }, options));
    });
  addDeviceCommands(program, context);
}

function addDeviceCommands(program: Command, { terminal, finish, layout }: CommandContext): void {
  const list = async (options: { readonly json?: boolean }) => {
    const { devices } = await LOAD.devices();
    await finish(devices(terminal, await settingsOf(layout()), options));
  };
  const description = 'list the connected devices and their tools';
  const group = program.command('devices').description('list, invite and revoke devices');
  // Without a further word it lists, as in release 0.1.
  group
    .command('list', { isDefault: true })
    .description(description)
    .option('--json', 'print JSON')
    .action(list);
  group
    .command('invite')
    .description('create a one-time code that enrols another machine as a device')
    .option('--device <id>', 'the device id that the code gives; replaces an existing device')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { invite } = await LOAD.devices();
      await finish(invite(terminal, await settingsOf(layout()), options));
    });
  group
    .command('revoke')
    .description("close a device's connection and refuse its credentials")
    .argument('<device>', 'the device id')
    .option('--offline', 'revoke a device that is not connected, without checking its name')
    .option('--json', 'print JSON')
    .action(async (device, options) => {
      const { revoke } = await LOAD.devices();
      await finish(revoke(terminal, await settingsOf(layout()), { ...options, device }));
    });
}

function addChatCommands(program: Command, { terminal, finish, layout }: CommandContext): void {
  program
    .command('chat')
    .description('start a conversation, or run one turn with the given message')
    .argument('[message...]')
    .option('--json', 'print one JSON event per line')
    .option('--device <id>', 'device whose tools the model may use')
    .option('--no-device', 'run without a device and its tools')
    .option('--model <alias>', 'model to use')
    .action(async (words, options) => {
      const { chat } = await LOAD.chat();
      const place = layout();
      const settings = await settingsOf(place);
      await finish(chat(terminal, { layout: place, settings }, { words, options }));
    });
  program
    .command('call')
    .description('run one tool without a model, through policy, receipt and ledger')
    .argument('<tool>', 'such as fs.read')
    .argument('[arguments]', `a JSON object, such as '{"path":"welcome.txt"}'`, '{}')
    .option('--json', 'print one JSON event per line')
    .option('--device <id>', 'device that offers the tool')
    .option('--no-device', 'call a tool of the host')
    .action(async (tool, argumentsJson, options) => {
      const { call } = await LOAD.call();
      await finish(call(terminal, await settingsOf(layout()), { tool, argumentsJson, options }));
    });
  program
    .command('token')
    .description('print an access token for other clients, valid for ten minutes')
    .action(async () => {
      const { readToken } = await LOAD.token();
      print(terminal, await readToken((await settingsOf(layout())).identity));
    });
}
