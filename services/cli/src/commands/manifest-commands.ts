import type { Command } from 'commander';
import type { CommandContext } from '../terminal.ts';

// What the commands do is loaded once one is asked for.
const load = () => import('./manifest.ts');

export function addManifestCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  const manifest = program
    .command('manifest')
    .description('sign and check the list of MCP servers that a device may start');
  manifest
    .command('sign')
    .description('sign a valid manifest as it is')
    .argument('<manifest.json>')
    .requiredOption('--key <private.pem>', 'the key to sign with')
    .requiredOption('--out <file>', 'where the signed manifest goes')
    .action(async (file, options) => finish((await load()).manifestSign(terminal, file, options)));
  manifest
    .command('verify')
    .description('verify a signed manifest')
    .argument('[manifest.dsse.json]', 'default: the one of this installation')
    .option('--keys <folder or pem>', 'public keys to trust (default: those of this installation)')
    .option('--json', 'for programs')
    .action(async (file, options) =>
      finish(
        (await load()).manifestVerify(terminal, file ?? layout().device.manifest, {
          ...options,
          keys: options.keys ?? layout().device.manifestKeys,
        }),
      ),
    );
  manifest
    .command('hash')
    .description('print the sha256 of files and folders for a manifest')
    .argument('<path...>')
    .action(async (paths) => finish((await load()).manifestHash(terminal, paths)));
  manifest
    .command('show')
    .description('print the content of a signed manifest as JSON')
    .argument('[manifest.dsse.json]', 'default: the one of this installation')
    .action(async (file) =>
      finish((await load()).manifestShow(terminal, file ?? layout().device.manifest)),
    );
}
