import { type Command, InvalidArgumentError } from 'commander';
import { LOCAL } from '../installation/local.ts';
import type { CommandContext } from '../terminal.ts';

// Loaded only when one of the commands runs, so that zl starts quickly.
const load = () => import('./policy.ts');

export function addPolicyCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout, installed } = context;
  const policy = program.command('policy').description('write, sign and query policy bundles');
  policy
    .command('keygen')
    .description('create a key pair for bundles or manifests')
    .requiredOption('--out <folder>', 'a new or an empty folder')
    .action(async (options) => {
      const { keygen } = await import('./keygen.ts');
      await finish(keygen(terminal, options));
    });
  policy
    .command('sign')
    .description('sign a valid bundle as it is')
    .argument('<bundle.json>')
    .requiredOption('--key <private.pem>', 'the key to sign with')
    .requiredOption('--out <file>', 'file to write the signed bundle to')
    .action(async (file, options) => finish((await load()).policySign(terminal, file, options)));
  policy
    .command('edit')
    .description('edit the bundle of this installation: lint, diff, sign and install it')
    .argument('[bundle.json]', 'continue with this file')
    .action(async (file) => {
      const { policyEdit } = await import('./policy-edit.ts');
      await finish(policyEdit(terminal, installed(), file));
    });
  policy
    .command('verify')
    .description('verify a signed bundle')
    .argument('[bundle.dsse.json]', 'default: the one of this installation')
    .option('--keys <folder or pem>', 'public keys to trust (default: those of this installation)')
    .option('--json', 'print JSON')
    .action(async (file, options) =>
      finish(
        (await load()).policyVerify(terminal, file ?? installed().policy.bundle, {
          ...options,
          keys: options.keys ?? installed().policy.keys,
          floors: layout().policy.floors,
        }),
      ),
    );
  policy
    .command('show')
    .description('print the content of a signed bundle as JSON')
    .argument('[bundle.dsse.json]', 'default: the one of this installation')
    .action(async (file) =>
      finish((await load()).policyShow(terminal, file ?? installed().policy.bundle)),
    );
  addExplain(policy, context);
  policy
    .command('lint')
    .description('warn about rules that are probably mistakes')
    .argument('<bundle.json>')
    .option('--json', 'print JSON')
    .action(async (file, options) => finish((await load()).policyLint(terminal, file, options)));
  policy
    .command('diff')
    .description('show what a new bundle changes')
    .argument('<before.json>')
    .argument('<after.json>')
    .option('--json', 'print JSON')
    .action(async (before, after, options) =>
      finish((await load()).policyDiff(terminal, { before, after }, options)),
    );
}

function addExplain(policy: Command, { terminal, finish, installed }: CommandContext): void {
  const collect = (value: string, before: string[] = []) => [...before, value];
  const collectPaths = (value: string, before: NamedPath[] = []) => [...before, parsePath(value)];
  policy
    .command('explain')
    .description('explain a decision, rule by rule')
    .argument('[bundle.json]', "signed or unsigned (default: this installation's)")
    .requiredOption('--tool <name>', 'such as fs.read')
    .option('--arguments <json>', 'the arguments of the call', parseArguments, {})
    .option('--root <argument=folder>', 'where relative paths of the argument start', collectPaths)
    .option('--opened <argument=path>', 'a file that the server opened for it', collectPaths)
    .option('--links <number>', 'how many names the opened files have', parseCount, 1)
    .option('--tool-version <semver>', 'the version of the tool', '1.0.0')
    .option('--effects <yes|no>', 'whether the tool has effects', parseYesNo)
    .option('--sandbox <yes|no>', 'whether its server runs in a sandbox', parseYesNo)
    .option('--tenant <name>', 'the tenant of the user', LOCAL.tenant)
    .option('--user <name>', 'who asks', LOCAL.user)
    .option(
      '--role <name>',
      `a role of the user; may be repeated (default: ${LOCAL.roles})`,
      collect,
    )
    .option('--device <id>', 'the device', LOCAL.deviceId)
    .option('--at <time>', 'ISO 8601 (default: now)', parseTime)
    .option('--calls <number>', 'earlier calls of the tool in the same turn', parseCount, 0)
    .option('--json', 'print JSON')
    .action(async (file, o) =>
      finish(
        (await load()).policyExplain(terminal, file ?? installed().policy.bundle, {
          json: o.json,
          request: {
            tool: o.tool,
            version: o.toolVersion,
            hasEffects: o.effects,
            inSandbox: o.sandbox,
            arguments: o.arguments,
            tenant: o.tenant,
            user: o.user,
            roles: o.role ?? LOCAL.roles,
            deviceId: o.device,
            nowMs: o.at ?? Date.now(),
            callsThisTurn: o.calls,
            pathBases: new Map(o.root?.map(({ argument, path }: NamedPath) => [argument, path])),
            opened: o.opened && {
              files: o.opened.map((file: NamedPath) => ({ ...file, links: o.links })),
              realFolders: new Map(),
            },
          },
        }),
      ),
    );
}

function parseArguments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError(`It is not JSON; write it like '{"path":"/tmp/a.txt"}'.`);
  }
}

function parseYesNo(text: string): boolean {
  if (text === 'yes' || text === 'no') return text === 'yes';
  throw new InvalidArgumentError('It is yes or no.');
}

interface NamedPath {
  readonly argument: string;
  readonly path: string;
}

function parsePath(text: string): NamedPath {
  const [, argument, path] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (argument !== undefined && path !== undefined) return { argument, path };
  throw new InvalidArgumentError('It names no argument; write it like path=/srv/reports.');
}

function parseTime(text: string): number {
  const timeMs = Date.parse(text);
  if (!Number.isNaN(timeMs)) return timeMs;
  throw new InvalidArgumentError('It is not a time; write it like 2026-03-01T17:30:00Z.');
}

function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a non-negative integer.');
}
