import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import { verifyDocument } from '@zerolatency/signing';
import type { FakeTerminalOptions } from '../../test/fake-terminal.ts';
import { installed } from '../../test/installed.ts';
import { readKeys } from '../input.ts';

/** An installation whose editor is a sed expression. */
async function editing(t: TestContext) {
  const made = await installed(t);
  const edit = (expression: string, options: FakeTerminalOptions = {}, ...more: string[]) => {
    const env = { EDITOR: `sed -i -e '${expression}'` };
    return made.zl(['policy', 'edit', ...more], { env, ...options });
  };
  const inForce = async () => {
    const keys = await readKeys(made.layout.policy.keys);
    const text = await readFile(made.layout.policy.bundle, 'utf8');
    const verified = verifyDocument(POLICY_BUNDLE, text, { keys, nowMs: Date.now() });
    if ('error' in verified) throw verified.error;
    return verified;
  };
  return { ...made, edit, inForce };
}

test('[POL-07] edit shows what changes, and signs and installs the next version', async (t) => {
  const { edit, inForce } = await editing(t);
  const before = await inForce();
  const { status, stdout, stderr } = await edit('s/fs.read/fs.*/');
  assert.deepEqual([status, stderr], [0, '']);
  const change = '~ developers-read-files tools: ["fs.read"] -> ["fs.*"]';
  const end = 'signed and installed local@2; host and bridge apply it now';
  assert.equal(stdout, `${change}\n${end}\n`);
  const { content } = await inForce();
  assert.deepEqual([content.version, content.previousDigest], [2, before.digest]);
  assert.deepEqual(content.rules[0]?.tools, ['fs.*']);
});

test('[POL-07] edit warns of rules that may not do what they seem to do', async (t) => {
  const { edit } = await editing(t);
  const { status, stderr } = await edit('s/"fs.read"/"read"/');
  assert.equal(status, 0);
  assert.match(stderr, /^warning: developers-read-files: no tool can be named read/);
});

test('[POL-07] edit leaves a bundle that was not changed as it is', async (t) => {
  const { edit, layout } = await editing(t);
  const before = await readFile(layout.policy.bundle, 'utf8');
  assert.equal((await edit('')).stdout, 'nothing changed in local@1\n');
  assert.equal(await readFile(layout.policy.bundle, 'utf8'), before);
});

test('[POL-07] edit keeps a text that is not a bundle, to continue with', async (t) => {
  const { edit, inForce } = await editing(t);
  const refused = await edit('s/"effect": "allow"/"effect": "perhaps"/');
  assert.equal(refused.status, 1);
  const [, file = ''] = /continue with "zl policy edit (\S+)"/.exec(refused.stderr) ?? [];
  assert.match(await readFile(file, 'utf8'), /"perhaps"/);
  assert.equal((await inForce()).content.version, 1);
  assert.equal((await edit('s/perhaps/allow/; s/fs.read/fs.stat/', {}, file)).status, 0);
  assert.deepEqual((await inForce()).content.rules[0]?.tools, ['fs.stat']);
});

test('[POL-07] edit asks a person, who may say no', async (t) => {
  const { edit, inForce } = await editing(t);
  for (const [answer, version] of [
    ['n', 1],
    ['', 1],
    ['y', 2],
  ] as const) {
    const input = Object.assign(Readable.from([`${answer}\n`]), {
      isTTY: true,
    });
    const { stdout } = await edit('s/fs.read/fs.*/', { input });
    assert.match(stdout, /Sign and install local@2\? \[y\/N\] /);
    assert.equal((await inForce()).content.version, version);
  }
});

test('[POL-07] edit names an editor that fails, and a bundle that was signed elsewhere', async (t) => {
  const { zl, dir, layout } = await editing(t);
  const failing = await zl(['policy', 'edit'], { env: { EDITOR: 'false' } });
  assert.match(failing.stderr, /the editor \(false\) exited with 1; set EDITOR/);
  await zl(['policy', 'keygen', '--out', join(dir, 'other')]);
  await writeFile(layout.policy.key, await readFile(join(dir, 'other', 'private.pem')));
  const foreign = await zl(['policy', 'edit'], { env: { EDITOR: 'true' } });
  assert.match(foreign.stderr, /policy\.invalid: .* was not signed with /);
});
