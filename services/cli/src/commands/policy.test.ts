import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Bundle } from '@zerolatency/policy';
import { allow, sampleBundle } from '@zerolatency/policy/testing';
import { tempDir } from '@zerolatency/testing';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { installed, runZl } from '../../test/installed.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

function bundle(change: Partial<Bundle> = {}): Bundle {
  const caps = { timeoutMs: 5_000 };
  const rule = allow({ id: 'staff-read', roles: ['staff'], caps });
  const issuedAt = new Date(Date.now() - DAY_MS).toISOString();
  const expiresAt = new Date(Date.now() + 6 * DAY_MS).toISOString();
  return sampleBundle({ id: 'office', issuedAt, expiresAt, rules: [rule], ...change });
}

/** A folder with keys, and `zl` in it, without any installation. */
async function desk(t: TestContext) {
  const dir = tempDir(t);
  const zl = (...args: string[]) => runZl(fakeTerminal({ cwd: dir }), args);
  const at = (name: string) => join(dir, name);
  const write = async (name: string, value: unknown) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    await writeFile(at(name), text);
    return at(name);
  };
  await zl('policy', 'keygen', '--out', at('key'));
  const sign = async (value: Bundle) => {
    const source = await write('source.json', value);
    const key = at('key/private.pem');
    return await zl('policy', 'sign', source, '--key', key, '--out', at('signed.json'));
  };
  const verify = (...more: string[]) =>
    zl('policy', 'verify', at('signed.json'), '--keys', at('key/keys'), ...more);
  return { zl, at, write, sign, verify };
}

test('keygen writes a private key for its owner and a public key named by its id, and overwrites nothing', async (t) => {
  const { zl, at, write } = await desk(t);
  assert.equal((await stat(at('key/private.pem'))).mode & 0o777, 0o600);
  const [name = ''] = await readdir(at('key/keys'));
  assert.match(name, /^[0-9a-f]{16}\.pem$/);
  assert.match(await readFile(join(at('key/keys'), name), 'utf8'), /BEGIN PUBLIC KEY/);
  for (const folder of [at('key'), join(await write('x', ''), '..')]) {
    const again = await zl('policy', 'keygen', '--out', folder);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /config\.invalid: .* is not empty/);
  }
  const nowhere = await zl('policy', 'keygen', '--out', '/proc/zl/key');
  assert.equal(nowhere.status, 1);
  assert.match(nowhere.stderr, /config\.invalid: cannot make \/proc\/zl\/key \(/);
});

test('a signed bundle verifies, and show and explain read it', async (t) => {
  const { zl, at, sign, verify } = await desk(t);
  const signed = await sign(bundle());
  assert.equal(signed.status, 0, signed.stderr);
  assert.match(signed.stdout, /^signed office@1 with [0-9a-f]{16} into /);
  const verified = await verify();
  assert.equal(verified.status, 0);
  assert.match(verified.stdout, /^office@1 is valid until .*\n {2}digest {2}sha256:[0-9a-f]{64}\n/);
  const shown = await zl('policy', 'show', at('signed.json'));
  assert.deepEqual(JSON.parse(shown.stdout).rules, bundle().rules);
  const call = ['policy', 'explain', at('signed.json'), '--tool', 'fs.read'];
  const allowed = await zl(...call, '--role', 'staff');
  assert.equal(allowed.status, 0);
  assert.match(allowed.stdout, /^allow: rule staff-read\n {2}matches {2}staff-read \(allow\)\n/);
  const denied = await zl(...call, '--role', 'guest');
  assert.equal(denied.status, 1);
  assert.match(denied.stdout, /^deny: no rule allows it\n {2}does not match {2}staff-read/);
  assert.match(denied.stdout, /✗ roles asks for \["staff"\]; the call has \["guest"\]/);
});

test('with --json each command prints one JSON object', async (t) => {
  const { zl, at, sign, verify } = await desk(t);
  await sign(bundle());
  const verified = JSON.parse((await verify('--json')).stdout);
  const { valid, id, version } = verified;
  assert.deepEqual({ valid, id, version }, { valid: true, id: 'office', version: 1 });
  assert.deepEqual(Object.keys(verified).sort(), [
    'digest',
    'expiresAt',
    'id',
    'keyids',
    'valid',
    'version',
  ]);
  const call = ['policy', 'explain', at('signed.json'), '--tool', 'fs.read', '--json'];
  const explained = JSON.parse((await zl(...call)).stdout);
  assert.equal(explained.state, 'active');
  assert.deepEqual(explained.decision, {
    effect: 'deny',
    ruleId: null,
    reason: 'no rule allows it',
    errorId: 'policy.denied',
  });
  assert.deepEqual(
    explained.rules.map((rule: { id: string; matched: boolean }) => [rule.id, rule.matched]),
    [['staff-read', false]],
  );
});

test('an altered, an expired and an untrusted bundle are each refused, with the reason', async (t) => {
  const { zl, at, write, sign, verify } = await desk(t);
  await sign(bundle());
  const envelope = JSON.parse(await readFile(at('signed.json'), 'utf8'));
  await zl('policy', 'keygen', '--out', at('other'));
  const stranger = await zl('policy', 'verify', at('signed.json'), '--keys', at('other/keys'));
  assert.equal(stranger.status, 1);
  assert.match(stranger.stderr, /^zl: policy\.invalid: .*signed by 0 known keys/);
  const payload = Buffer.from(JSON.stringify(bundle({ version: 2 }))).toString('base64');
  await write('signed.json', { ...envelope, payload });
  const altered = await verify('--json');
  assert.equal(altered.status, 1);
  assert.equal(JSON.parse(altered.stdout).valid, false);
  assert.equal(JSON.parse(altered.stdout).error.id, 'policy.invalid');
  const { issuedAt } = bundle();
  await sign(
    bundle({ version: 3, issuedAt, expiresAt: new Date(Date.now() - 1000).toISOString() }),
  );
  const expired = await verify();
  assert.equal(expired.status, 1);
  assert.match(expired.stderr, /it expired at/);
});

test('explain allows only marked rules during grace, and nothing after expiry', async (t) => {
  const { zl, write } = await desk(t);
  const [rule] = bundle().rules;
  const rules = [
    { ...rule, id: 'always', duringGrace: true },
    { ...rule, id: 'fresh-only', tools: ['fs.write'] },
  ];
  const file = await write('b.json', { ...bundle(), graceMs: DAY_MS, rules });
  const at = (days: number) =>
    new Date(Date.parse(bundle().expiresAt) + days * DAY_MS).toISOString();
  const explain = (tool: string, time: string) =>
    zl('policy', 'explain', file, '--tool', tool, '--role', 'staff', '--at', time, '--json');
  const answer = async (tool: string, time: string) => {
    const { state, decision } = JSON.parse((await explain(tool, time)).stdout);
    return [state, decision.effect, decision.errorId];
  };
  assert.deepEqual(await answer('fs.write', at(-1)), ['active', 'allow', undefined]);
  assert.deepEqual(await answer('fs.read', at(0.5)), ['stale', 'allow', undefined]);
  assert.deepEqual(await answer('fs.write', at(0.5)), ['stale', 'deny', 'policy.denied']);
  assert.deepEqual(await answer('fs.read', at(2)), ['expired', 'deny', 'policy.unavailable']);
});

test('[BRG-02] explain answers for a tool with and without effects, in a sandbox and outside', async (t) => {
  const { zl, write } = await desk(t);
  const demand = { effect: 'deny', tools: ['*'], hasEffects: true, inSandbox: false };
  const rules = [...bundle().rules, { id: 'demand', ...demand }];
  const file = await write('b.json', { ...bundle(), schema: 'zerolatency.policy/v2', rules });
  const explain = async (...facts: string[]) =>
    zl('policy', 'explain', file, '--tool', 'fs.read', '--role', 'staff', ...facts);
  for (const facts of ['--effects no', '--sandbox yes', '--effects yes --sandbox yes']) {
    assert.match((await explain(...facts.split(' '))).stdout, /^allow: /, facts);
  }
  const denied = await explain('--effects', 'yes', '--sandbox', 'no');
  assert.match(denied.stdout, /^deny: rule demand denies it outside a sandbox: its device needs/);
  assert.match((await explain()).stdout, /inSandbox asks for false; the call has none and cannot/);
  assert.match((await explain('--sandbox', 'maybe')).stderr, /It is yes or no/);
});

test('lint warns about rules without effect, and its exit status shows it', async (t) => {
  const { zl, write, sign } = await desk(t);
  const clean = await zl('policy', 'lint', await write('a.json', bundle()));
  assert.deepEqual(clean, { status: 0, stdout: 'no warnings\n', stderr: '' });
  const [rule] = bundle().rules;
  const odd = bundle({ rules: [{ ...rule!, tools: ['read'] }] });
  const found = await zl('policy', 'lint', await write('b.json', odd), '--json');
  assert.equal(found.status, 1);
  assert.equal(JSON.parse(found.stdout).warnings[0].warning, 'tool-name-odd');
  const signed = await sign(odd);
  assert.equal(signed.status, 0);
  assert.match(signed.stderr, /^warning: staff-read: no tool can be named read/);
});

test('diff identifies rules by id and shows what changed in each', async (t) => {
  const { zl, write } = await desk(t);
  const [rule] = bundle().rules;
  const before = await write('before.json', bundle());
  const after = await write(
    'after.json',
    bundle({
      version: 2,
      rules: [
        { ...rule!, roles: ['staff', 'guest'] },
        { id: 'no-nights', effect: 'deny', tools: ['*'] },
      ],
    }),
  );
  const { status, stdout } = await zl('policy', 'diff', before, after);
  assert.equal(status, 0);
  assert.match(stdout, /^~ version: 1 -> 2$/m);
  assert.match(stdout, /^\+ no-nights \(deny\)$/m);
  assert.match(stdout, /^~ staff-read roles: \["staff"\] -> \["staff","guest"\]$/m);
  const json = JSON.parse((await zl('policy', 'diff', before, after, '--json')).stdout);
  assert.deepEqual(json.changed[0].fields, ['roles']);
});

test('a file that is missing, not JSON or not a bundle is named, without a stack trace', async (t) => {
  const { zl, at, write } = await desk(t);
  const missing = await zl('policy', 'lint', at('none.json'));
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /^zl: file\.unusable: cannot read .*none\.json: no such file/);
  const broken = await zl('policy', 'lint', await write('broken.json', '{'));
  assert.match(broken.stderr, /^zl: policy\.invalid: .*broken\.json is not JSON/);
  const { rules: _, ...headless } = bundle();
  const wrong = await zl('policy', 'lint', await write('wrong.json', headless));
  assert.match(wrong.stderr, /^zl: policy\.invalid: not a policy bundle: .*rules/);
  const noKey = await zl('policy', 'verify', at('none.json'), '--keys', at('none'));
  assert.equal(noKey.status, 1);
  const inFile = await zl('policy', 'keygen', '--out', at('broken.json'));
  assert.match(inFile.stderr, /^zl: config\.invalid: cannot make .*broken\.json \(EEXIST\)/);
  for (const { stderr } of [missing, broken, wrong, noKey, inFile])
    assert.doesNotMatch(stderr, /\n\s+at /);
});

test('the content of a bundle cannot control the terminal', async (t) => {
  const { zl, write } = await desk(t);
  const [rule] = bundle().rules;
  const evil = bundle({ rules: [{ ...rule!, roles: ['\u001b[2J\u009b31mstaff\nallow: all'] }] });
  const file = await write('evil.json', evil);
  for (const args of [
    ['explain', file, '--tool', 'fs.read'],
    ['diff', await write('fine.json', bundle()), file],
    ['show', file],
  ]) {
    const { stdout } = await zl('policy', ...args);
    assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u);
    assert.doesNotMatch(stdout, /^allow: all/m);
  }
});

test('[OPS-02] signing refuses a version that is not above the one in the file it replaces', async (t) => {
  const { at, sign, verify } = await desk(t);
  assert.equal((await sign(bundle({ version: 4 }))).status, 0);
  const before = await readFile(at('signed.json'), 'utf8');
  for (const version of [3, 4]) {
    const { status, stderr } = await sign(bundle({ version }));
    assert.equal(status, 1);
    assert.match(
      stderr,
      /policy\.invalid: .*signed\.json holds office@4; raise version .* above 4/,
    );
    assert.equal(await readFile(at('signed.json'), 'utf8'), before);
  }
  assert.equal((await sign(bundle({ version: 5 }))).status, 0);
  assert.match((await verify()).stdout, /^office@5 is valid/);
});

test('[OPS-02] verify compares with the version that host and bridge remember', async (t) => {
  const { layout, zl } = await installed(t);
  assert.equal((await zl(['policy', 'verify'])).status, 0);
  for (const path of layout.policy.floors) {
    await mkdir(dirname(path), { recursive: true });
    const floor = { id: 'local', version: 7, digest: 'sha256:00' };
    await writeFile(path, JSON.stringify(floor));
    const { status, stderr } = await zl(['policy', 'verify']);
    assert.equal(status, 1);
    assert.match(stderr, /its version 1 is older than 7, accepted before/);
    await writeFile(path, JSON.stringify({ ...floor, id: 'other' }));
    assert.equal((await zl(['policy', 'verify'])).status, 0);
  }
});
