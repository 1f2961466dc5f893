import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { EXIT_STATUS } from '../src/terminal.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { installed, type Ran, runZl } from './installed.ts';

const { ok, failed, usage, unreachable } = EXIT_STATUS;

type Ending = readonly [status: number, says: RegExp];

/** How a command ends that a person runs in the wrong place, at the wrong time or with a mistake. */
interface Endings {
  readonly args: readonly string[];
  /** In a folder without an installation. */
  readonly empty: Ending;
  /** In an installation that has been made and not started. */
  readonly stopped: Ending;
  /** A mistake of its own; every command is also run with an unknown option. */
  readonly wrong?: readonly [args: readonly string[], ...ending: Ending];
}

const NOTHING: Ending = [failed, /no installation found: .*; run "make up"/];
const NO_FILE: Ending = [failed, /file\.unusable: cannot read \S+: no such file/];
const DONE: Ending = [ok, /./];
const NO_HOST: Ending = [unreachable, /host\.unreachable: .*\n.*"zl up" starts it/];
const NO_RELAY: Ending = [unreachable, /relay\.unreachable: .*\n.*"zl doctor" names the hop/];
const NO_LEDGER: Ending = [failed, /holds no ledger; name the folder that ledger\.dir/];
const NO_SECRET: Ending = [failed, /the secret in environment variable NONE is missing/];
const MISSING_ARGUMENT: Ending = [usage, /missing required argument .*\n.*--help/];
const MISSING_OPTION: Ending = [usage, /required option .* not specified\n.*--help/];

const SIGNING = ['--key', 'none.pem', '--out', 'out.json'];

const COMMANDS: Readonly<Record<string, Endings | undefined>> = {
  // It would start the system; test/e2e/up-failures.test.ts has what it cannot start.
  up: undefined,
  down: { args: [], empty: [ok, /not running/], stopped: [ok, /not running/] },
  status: { args: [], empty: NOTHING, stopped: [failed, /down .*"zl up" starts what is down/s] },
  devices: { args: [], empty: NOTHING, stopped: NO_RELAY },
  chat: { args: ['hello'], empty: NOTHING, stopped: NO_HOST },
  call: {
    args: ['fs.read', '{}'],
    empty: NOTHING,
    stopped: NO_HOST,
    wrong: [['fs.read', '{x'], usage, /request\.invalid: the arguments are not a JSON object/],
  },
  token: { args: [], empty: NOTHING, stopped: DONE },
  'tools add': {
    args: ['notes', '--', 'none-such'],
    empty: NOTHING,
    stopped: [failed, /none-such is not on PATH; write the path/],
    wrong: [['No.tes', '--', 'node'], usage, /No\.tes is not a server name/],
  },
  'tools remove': {
    args: ['none-such'],
    empty: NOTHING,
    stopped: [failed, /no server none-such: the manifest has fs/],
    wrong: [[], ...MISSING_ARGUMENT],
  },
  'tools test': {
    args: ['fs'],
    empty: NOTHING,
    stopped: NO_RELAY,
    wrong: [[], ...MISSING_ARGUMENT],
  },
  'policy keygen': {
    args: ['--out', 'KEYS'],
    empty: DONE,
    stopped: DONE,
    wrong: [[], ...MISSING_OPTION],
  },
  'policy sign': {
    args: ['none.json', ...SIGNING],
    empty: NO_FILE,
    stopped: NO_FILE,
    wrong: [['none.json'], ...MISSING_OPTION],
  },
  'policy edit': { args: ['none.json'], empty: NOTHING, stopped: NO_FILE },
  'policy verify': { args: [], empty: NOTHING, stopped: DONE },
  'policy show': { args: [], empty: NOTHING, stopped: DONE },
  'policy explain': {
    args: ['--tool', 'fs.read'],
    empty: NOTHING,
    stopped: DONE,
    wrong: [['--tool', 'fs.read', '--at', 'noon'], usage, /It is not a time/],
  },
  'policy lint': {
    args: ['none.json'],
    empty: NO_FILE,
    stopped: NO_FILE,
    wrong: [[], ...MISSING_ARGUMENT],
  },
  'policy diff': {
    args: ['one.json', 'other.json'],
    empty: NO_FILE,
    stopped: NO_FILE,
    wrong: [['one.json'], ...MISSING_ARGUMENT],
  },
  'manifest sign': {
    args: ['none.json', ...SIGNING],
    empty: NO_FILE,
    stopped: NO_FILE,
    wrong: [['none.json'], ...MISSING_OPTION],
  },
  'manifest verify': { args: [], empty: NOTHING, stopped: DONE },
  'manifest hash': {
    args: ['none'],
    empty: [failed, /cannot read none; name a file or folder/],
    stopped: [failed, /cannot read none; name a file or folder/],
    wrong: [[], ...MISSING_ARGUMENT],
  },
  'manifest show': { args: [], empty: NOTHING, stopped: DONE },
  'audit show': {
    args: [],
    empty: NOTHING,
    stopped: NO_LEDGER,
    wrong: [['--ledger', '0123'], usage, /name the database of the ledger with --postgres/],
  },
  'audit verify': {
    args: [],
    empty: NOTHING,
    stopped: NO_LEDGER,
    wrong: [['ledger', '--postgres', 'env:NONE'], usage, /either the folder ledger or --postgres/],
  },
  'audit prove': {
    args: ['--record', '1'],
    empty: NOTHING,
    stopped: [failed, /there is no checkpoint in/],
    wrong: [['ledger'], usage, /give either --record, .* or --since/],
  },
  'audit check-proof': {
    args: ['none.proof'],
    empty: [failed, /is neither a \.pem file nor a folder of them/],
    stopped: NO_FILE,
    wrong: [[], ...MISSING_ARGUMENT],
  },
  'audit list': {
    args: ['--postgres', 'env:NONE'],
    empty: NO_SECRET,
    stopped: NO_SECRET,
    wrong: [['--postgres', 'NONE'], usage, /--postgres takes env:NAME or file:PATH/],
  },
  'audit export': {
    args: ['out', '--postgres', 'env:NONE'],
    empty: NO_SECRET,
    stopped: NO_SECRET,
    wrong: [['out'], usage, /name the database of the ledger with --postgres/],
  },
  doctor: {
    args: [],
    empty: [failed, /no installation found.*Start it with "zl up"/s],
    stopped: [failed, /model-host .*Start it with "zl up"/s],
  },
  why: {
    args: ['last'],
    empty: NOTHING,
    stopped: [failed, /no turn is in the ledger .*"zl doctor" names what to do/s],
    wrong: [['zzz'], usage, /zzz is not the id of a turn or call/],
  },
  logs: {
    args: [],
    empty: [failed, /holds no log yet; "zl up" starts the programs/],
    stopped: [failed, /holds no log yet; "zl up" starts the programs/],
    wrong: [
      ['bridge'],
      usage,
      /Allowed choices are model-host, tool-relay, registrar, device-bridge/,
    ],
  },
  completion: {
    args: ['bash'],
    empty: DONE,
    stopped: DONE,
    wrong: [['ksh'], usage, /Allowed choices are bash, zsh, fish/],
  },
};

function expectEnding(name: string, { status, stdout, stderr }: Ran, [expected, says]: Ending) {
  assert.equal(status, expected, `${name}: ${stdout}${stderr}`);
  assert.match(stdout + stderr, says, name);
  // A defect has a trace, and a mistake is none.
  assert.doesNotMatch(stderr, /internal:|\n\s+at |ENOENT|EISDIR/, name);
}

/** The commands without those that only group others, as the shell's completion lists them. */
async function commandsOf(before: readonly string[] = []): Promise<string[]> {
  const { stdout } = await runZl(fakeTerminal(), ['complete', '--', ...before, '']);
  const names = stdout.split('\n').filter((name) => name !== '' && name !== 'help');
  const isLeaf = before.length > 0 && COMMANDS[before.join(' ')] !== undefined;
  if (names.length === 0 || isLeaf) return [before.join(' ')];
  return (await Promise.all(names.map((name) => commandsOf([...before, name])))).flat();
}

test('[CLI-02] every command has its exit statuses in this table', async () => {
  assert.deepEqual((await commandsOf()).sort(), Object.keys(COMMANDS).sort());
});

test('[CLI-02] a mistake ends every command with 2 and points at the help', async (t) => {
  const { zl } = await installed(t);
  for (const [name, endings] of Object.entries(COMMANDS)) {
    const words = name.split(' ');
    const unknown = await zl([...words, '--no-such-option', ...(endings?.args ?? [])]);
    expectEnding(name, unknown, [usage, /unknown option '--no-such-option'\n.*--help/s]);
    if (endings?.wrong === undefined) continue;
    const [args, ...ending] = endings.wrong;
    expectEnding(name, await zl([...words, ...args]), ending);
  }
});

test('[CLI-02] without an installation every command that needs one says how to make it', async (t) => {
  const cwd = tempDir(t);
  for (const [name, endings] of Object.entries(COMMANDS)) {
    if (endings === undefined) continue;
    const args = endings.args.map((word) => (word === 'KEYS' ? join(cwd, 'keys') : word));
    const ran = await runZl(fakeTerminal({ cwd }), [...name.split(' '), ...args]);
    expectEnding(name, ran, endings.empty);
  }
});

test('[CLI-02] with everything stopped every command says so, or does without', async (t) => {
  const { zl, dir } = await installed(t);
  const env = { EDITOR: 'true' };
  for (const [name, endings] of Object.entries(COMMANDS)) {
    if (endings === undefined) continue;
    const args = endings.args.map((word) => (word === 'KEYS' ? join(dir, 'keys') : word));
    expectEnding(name, await zl([...name.split(' '), ...args], { env }), endings.stopped);
  }
});
