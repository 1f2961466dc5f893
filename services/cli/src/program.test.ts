import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { fakeTerminal } from '../test/fake-terminal.ts';
import { installed, runZl } from '../test/installed.ts';
import { EXIT_STATUS } from './terminal.ts';

const zl = (...args: string[]) => runZl(fakeTerminal(), args);

test('without a command it prints help as a usage error; with --help as its output', async () => {
  const alone = await zl();
  assert.deepEqual([alone.status, alone.stdout], [2, '']);
  assert.match(alone.stderr, /^Usage: zl .*\n/);
  const asked = await zl('--help');
  assert.deepEqual([asked.status, asked.stderr], [0, '']);
  assert.match(asked.stdout, /Exit status:\n {2}0 {4}success\n.*\n {2}130 {2}interrupted\n/s);
  for (const name of ['up', 'down', 'status', 'devices', 'chat', 'token', 'policy', 'audit']) {
    assert.match(asked.stdout, new RegExp(`^ {2}${name} `, 'm'));
  }
});

test('[CLI-02] --help lists every exit status', async () => {
  const { stdout } = await zl('--help');
  const [, list = ''] = stdout.split('Exit status:\n');
  const listed = [...list.matchAll(/^ {2}(\d+) +\S/gm)].map(([, status]) => Number(status));
  assert.deepEqual(listed, Object.values(EXIT_STATUS));
});

test('a command group without a command prints its help', async () => {
  for (const group of ['policy', 'manifest', 'audit']) {
    const { status, stderr } = await zl(group);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`^Usage: zl ${group} `));
  }
});

test('prints the version of the package', async () => {
  assert.deepEqual(await zl('--version'), { status: 0, stdout: '0.1.0\n', stderr: '' });
});

test('every usage error exits with 2, says what is wrong and points at the help', async () => {
  const mistakes: [string[], RegExp][] = [
    [['polcy'], /unknown command 'polcy'\n\(Did you mean policy\?\)/],
    [['status', '--jsno'], /unknown option '--jsno'\n\(Did you mean --json\?\)/],
    [['policy', 'lint'], /missing required argument 'bundle\.json'/],
    [['policy', 'explain'], /required option '--tool <name>' not specified/],
    [['policy', 'explain', '--tool', 'a.b', '--arguments', '{x'], /It is not JSON; write it like/],
    [['policy', 'explain', '--tool', 'a.b', '--at', 'noon'], /It is not a time; write it like/],
    [['policy', 'explain', '--tool', 'a.b', '--calls', '-1'], /It must be a non-negative integer/],
  ];
  for (const [args, expected] of mistakes) {
    const { status, stdout, stderr } = await zl(...args);
    assert.deepEqual([status, stdout], [2, ''], args.join(' '));
    assert.match(stderr, expected);
    assert.match(stderr, /run with --help/);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
});

test('without an installation every command that needs one says how to create it', async (t) => {
  const dir = tempDir(t);
  for (const args of [['status'], ['devices'], ['chat', 'hi'], ['token']]) {
    const { status, stderr } = await runZl(fakeTerminal({ cwd: dir }), args);
    assert.equal(status, 1);
    assert.match(stderr, /^zl: config\.invalid: no installation found: .* run "make up"\n/);
  }
});

test('--home and ZL_HOME select an installation, and --home wins', async (t) => {
  const [one, other] = await Promise.all([installed(t), installed(t)]);
  const manifestOf = async (args: string[], env: Record<string, string>) => {
    const { stdout } = await runZl(fakeTerminal({ env }), [...args, 'manifest', 'show']);
    return JSON.parse(stdout).servers[0].settings.roots[0];
  };
  assert.equal(await manifestOf([], { ZL_HOME: one.layout.home }), one.layout.device.files);
  const both = await manifestOf(['--home', other.layout.home], { ZL_HOME: one.layout.home });
  assert.equal(both, other.layout.device.files);
});

test('down reports that nothing is running', async (t) => {
  const { zl: inside } = await installed(t);
  const { status, stdout } = await inside(['down']);
  assert.equal(status, 0);
  assert.deepEqual(stdout.match(/not running/g)?.length, 4);
});
