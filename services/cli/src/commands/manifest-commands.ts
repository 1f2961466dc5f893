import type { Command } from 'commander';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./manifest.ts');

export function addManifestCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout, installed } = context;
  const manifest = program
    .command('manifest')
    .description('sign and check the list of MCP servers that a device may start');
  manifest
    .command('sign')
    .description('sign a valid manifest as it is')
    .argument('<manifest.json>')
    .requiredOption('--key <private.pem>', 'the key to sign with')
    .requiredOption('--out <file>', 'file to write the signed manifest to')
    .action(async (file, options) => finish((await load()).manifestSign(terminal, file, options)));
  manifest
    .command('verify')
    .description('verify a signed manifest')
    .argument('[manifest.dsse.json]', 'default: the one of this installation')
    .option('--keys <folder or pem>', 'public keys to trust (default: those of this installation)')
    .option('--json', 'print JSON')
    .action(async (file, options) =>
      finish(
        (await load()).manifestVerify(terminal, file ?? installed().device.manifest, {
          ...options,
          keys: options.keys ?? installed().device.manifestKeys,
          floors: [layout().device.manifestFloor],
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
      finish((await load()).manifestShow(terminal, file ?? installed().device.manifest)),
    );
}
