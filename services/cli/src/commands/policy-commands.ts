import type { Command } from 'commander';
import { local } from '../installation/identity.ts';
import type { CommandContext } from './command-context.ts';
import {
  policyDiff,
  policyExplain,
  policyKeygen,
  policyLint,
  policySign,
  policyVerify,
} from './policy.ts';

export function addPolicyCommands(program: Command, context: CommandContext): void {
  const { terminal, finish, layout } = context;
  const policy = program.command('policy').description('write, sign and question policy bundles');
  policy
    .command('keygen')
    .description('make a key pair for signing bundles')
    .requiredOption('--out <folder>', 'an empty folder')
    .action((options) => finish(policyKeygen(terminal, options)));
  policy
    .command('sign')
    .description('check a bundle and sign it')
    .argument('<bundle.json>')
    .requiredOption('--key <private.pem>', 'the key to sign with')
    .requiredOption('--out <file>', 'where the signed bundle goes')
    .action((file, options) => finish(policySign(terminal, file, options)));
  policy
    .command('verify')
    .description('check signature and validity of a signed bundle')
    .argument('[bundle.dsse.json]', 'default: the one of this installation')
    .option('--keys <folder or pem>', 'public keys to trust')
    .option('--json', 'for programs')
    .action((file, options) =>
      finish(
        policyVerify(terminal, file ?? layout().policy.bundle, {
          ...options,
          keys: options.keys ?? layout().policy.keys,
        }),
      ),
    );
  addExplain(policy, context);
  policy
    .command('lint')
    .description('point at rules that do not do what they seem to')
    .argument('<bundle.json>')
    .option('--json', 'for programs')
    .action((file, options) => finish(policyLint(terminal, file, options)));
  policy
    .command('diff')
    .description('what a new bundle changes')
    .argument('<before.json>')
    .argument('<after.json>')
    .option('--json', 'for programs')
    .action((before, after, options) => finish(policyDiff(terminal, { before, after }, options)));
}

function addExplain(policy: Command, { terminal, finish, layout }: CommandContext): void {
  const collect = (value: string, before: string[]) => [...before, value];
  policy
    .command('explain')
    .description('why a call is allowed or denied, rule by rule')
    .argument('[bundle.json]', 'default: the one of this installation')
    .requiredOption('--tool <name>', 'such as fs.read')
    .option('--arguments <json>', 'the arguments of the call', '{}')
    .option('--tool-version <semver>', 'the version of the tool', '1.0.0')
    .option('--tenant <name>', 'who asks', local.tenant)
    .option('--user <name>', 'who asks', local.user)
    .option('--role <name>', 'a role of the user; may be repeated', collect, [])
    .option('--device <id>', 'the device', local.deviceId)
    .option('--at <time>', 'ISO 8601 (default: now)')
    .option('--json', 'for programs')
    .action((file, o) =>
      finish(
        policyExplain(terminal, file ?? layout().policy.bundle, {
          json: o.json,
          request: {
            tool: o.tool,
            version: o.toolVersion,
            arguments: JSON.parse(o.arguments),
            tenant: o.tenant,
            user: o.user,
            roles: o.role.length > 0 ? o.role : local.roles,
            deviceId: o.device,
            nowMs: o.at === undefined ? Date.now() : Date.parse(o.at),
            callsThisTurn: 0,
          },
        }),
      ),
    );
}
