import { parseName } from '@zerolatency/identity';
import { type Command, InvalidArgumentError } from 'commander';
import type { ToolEffects } from '../installation/server-entry.ts';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./tools.ts');

/** The defaults of options, which the help would otherwise print. */
const UNASKED = { read: [], write: [], effects: [], network: false, unpinned: false };

export function addToolsCommands(
  program: Command,
  { terminal, finish, layout }: CommandContext,
): void {
  const place = async () => {
    const { readSettings } = await import('../settings.ts');
    return { layout: layout(), settings: await readSettings(layout().settings) };
  };
  const collect = (value: string, before: string[] = []) => [...before, value];
  const tools = program
    .command('tools')
    .description('add MCP servers to this installation, and try their tools');
  tools
    .command('add')
    .description('hash, sign and allow a server, such as: zl tools add notes -- python server.py')
    .argument('<name>', 'the first part of the names of its tools')
    .argument('<command...>', 'the program and its arguments, after --')
    .option('--read <path>', 'a file or folder that it may read; may be repeated', collect)
    .option('--write <path>', 'a folder that it may also change; may be repeated', collect)
    .option(
      '--effects <tool=none|local|external>',
      'what a tool can change; may be repeated (default: external, outside this machine)',
      collectEffects,
    )
    .option('--network', 'grant it the network of this machine')
    .option('--unpinned', 'accept code that may change after signing')
    .action(async (name, words, options) =>
      finish(
        (await load()).toolsAdd(terminal, await place(), { ...UNASKED, ...options, name, words }),
      ),
    );
  tools
    .command('remove')
    .description('remove a server from the manifest, and its rule from the policy')
    .argument('<server>', 'its name')
    .action(async (server) => finish((await load()).toolsRemove(terminal, await place(), server)));
  tools
    .command('test')
    .description(
      'show the policy decision for each tool of a server, and run tools without effects',
    )
    .argument('<server>', 'its name')
    .action(async (server) => finish((await load()).toolsTest(terminal, await place(), server)));
}

const EFFECTS = ['none', 'local', 'external'] as const;

function collectEffects(text: string, before: readonly ToolEffects[] = []): ToolEffects[] {
  const [, tool = '', word] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const effects = EFFECTS.find((each) => each === word);
  if (effects === undefined || parseName('tool', tool).error !== undefined) {
    throw new InvalidArgumentError('Write a tool and what it changes, like search=none.');
  }
  return [...before, { tool, effects }];
}
