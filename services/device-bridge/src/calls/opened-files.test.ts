import assert from 'node:assert/strict';
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Rule } from '@zerolatency/policy';
import { verifyDeviceReceipt } from '@zerolatency/receipts';
import { verifierFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import { ALLOW_ALL, runRig } from '../../test/bridge-rig.ts';
import type { Answer } from '../../test/fake-host.ts';
import { fixtureSpec, fsSpec } from '../../test/manifests.ts';

const SECRET = 'forty thousand a month';

/** A folder that rules close beside one that they do not, both below the root of fs. */
async function office(t: TestContext, settings: Record<string, unknown> = {}) {
  const rig = await runRig(t, { servers: (root) => [fsSpec(root)], rules: [], settings });
  const at = (...parts: string[]) => join(rig.root, ...parts);
  mkdirSync(at('salaries'));
  mkdirSync(at('pub'));
  writeFileSync(at('salaries', 'q3'), SECRET);
  writeFileSync(at('pub', 'q3'), 'public');
  await rig.relay.offering('fs.read');
  const read = (path: string, more = {}) => rig.host.call({ args: { path, ...more } });
  let version = 1;
  const follow = async (rules: readonly Rule[]) => {
    version += 1;
    await rig.install({ version, rules: [...rules] });
    await eventually(() => JSON.stringify(rig.bridge.status().policy).includes(`test@${version}`));
  };
  return { ...rig, at, read, follow };
}

const denySalaries = (root: string): readonly Rule[] => [
  ALLOW_ALL,
  {
    id: 'no-salaries',
    effect: 'deny',
    tools: ['fs.*'],
    paths: { argument: 'path', within: [join(root, 'salaries')] },
  },
];

const allowPub = (root: string): readonly Rule[] => [
  { ...ALLOW_ALL, paths: { argument: 'path', within: [join(root, 'pub')] } },
];

function assertDenied(answer: Answer, why: RegExp): void {
  assert.deepEqual([answer.status, answer.error?.id], ['denied', 'policy.denied'], answer.text);
  assert.match(answer.error?.message ?? '', why);
  assert.equal(answer.text, '');
}

function assertRead(answer: Answer, content = 'public'): void {
  assert.equal(answer.status, 'done', answer.error?.message);
  assert.equal(answer.json.structuredContent?.content, content);
}

test('[POL-01] [BRG-03] a link inside a root leads around no rule', async (t) => {
  const { root, at, read, follow } = await office(t);
  symlinkSync('../salaries', at('pub', 'folder'));
  symlinkSync(at('salaries', 'q3'), at('pub', 'file'));
  symlinkSync('folder', at('pub', 'twice'));
  linkSync(at('salaries', 'q3'), at('pub', 'hard'));
  symlinkSync('q3', at('pub', 'latest'));
  const cases = { 'no-salaries denies': denySalaries(root), 'no rule allows': allowPub(root) };
  for (const [why, rules] of Object.entries(cases)) {
    await follow(rules);
    for (const path of ['folder/q3', 'file', 'twice/q3', 'hard']) {
      assertDenied(await read(at('pub', path)), new RegExp(`${why} the file that was opened`));
    }
    assertRead(await read(at('pub', 'q3')));
    assertRead(await read(at('pub', 'latest')));
  }
});

test('[POL-01] a denied file does not reveal whether it exists or holds text', async (t) => {
  const { root, at, read, follow } = await office(t);
  writeFileSync(at('salaries', 'binary'), Buffer.from([0xff]));
  symlinkSync('../salaries', at('pub', 'folder'));
  symlinkSync('../salaries/none', at('pub', 'dangling'));
  await follow(denySalaries(root));
  for (const path of ['folder/q3', 'folder/none', 'folder/no/such', 'folder', 'dangling']) {
    assertDenied(await read(at('pub', path)), /no-salaries denies the file that was opened/);
  }
  assertDenied(await read(at('pub/folder/binary'), { encoding: 'text' }), /no-salaries/);
  const missing = await read(at('pub', 'none'));
  assert.deepEqual([missing.status, missing.error?.id], ['failed', 'fs.not_found']);
});

test('[POL-01] a rule whose folder is a link closes the folder that it leads to', async (t) => {
  const { root, at, read, follow } = await office(t);
  renameSync(at('salaries'), at('hr'));
  symlinkSync('hr', at('salaries'));
  await follow(denySalaries(root));
  assertDenied(await read(at('hr', 'q3')), /no-salaries denies the file that was opened/);
  renameSync(at('pub'), at('public'));
  symlinkSync('public', at('pub'));
  await follow(allowPub(root));
  assertRead(await read(at('pub', 'q3')));
});

test('[POL-01] rules and a root may name a folder by a link above it', async (t) => {
  const alias = (root: string) => `${root}-alias`;
  const rig = await runRig(t, {
    servers(root) {
      symlinkSync(root, alias(root));
      return [fsSpec(alias(root))];
    },
    rules: [],
  });
  mkdirSync(join(rig.root, 'salaries'));
  mkdirSync(join(rig.root, 'pub'));
  writeFileSync(join(rig.root, 'salaries', 'q3'), SECRET);
  writeFileSync(join(rig.root, 'pub', 'q3'), 'public');
  symlinkSync('../salaries', join(rig.root, 'pub', 'folder'));
  await rig.relay.offering('fs.read');
  const read = (path: string) => rig.host.call({ args: { path } });
  const rulesOf = [denySalaries(alias(rig.root)), allowPub(alias(rig.root))];
  for (const [index, rules] of rulesOf.entries()) {
    await rig.install({ version: index + 2, rules: [...rules] });
    await eventually(() => JSON.stringify(rig.bridge.status().policy).includes(`@${index + 2}`));
    assertRead(await read('pub/q3'));
    assertRead(await read(join(alias(rig.root), 'pub', 'q3')));
    assertDenied(await read('pub/folder/q3'), /the file that was opened/);
  }
  assertDenied(await read(join(rig.root, 'pub', 'q3')), /no rule allows it/);
});

test('[POL-01] a relative path is judged below the root of fs.read', async (t) => {
  const { root, read, follow } = await office(t);
  await follow(denySalaries(root));
  assertRead(await read('pub/q3'));
  assertDenied(await read('salaries/q3'), /no-salaries denies it/);
  assertDenied(await read('pub/../salaries/q3'), /no-salaries denies it/);
  await follow(allowPub(root));
  assertRead(await read('pub/q3'));
  assertDenied(await read('salaries/q3'), /no rule allows it/);
});

test('[POL-01] a file with hard links is read where no rule restricts paths, or the device allows them', async (t) => {
  const { root, at, read, follow } = await office(t, { 'policy.hardLinks': 'allow' });
  linkSync(at('pub', 'q3'), at('copy'));
  for (const rules of [denySalaries(root), allowPub(root)]) {
    await follow(rules);
    assertRead(await read('pub/q3'));
  }
  const careful = await office(t);
  linkSync(careful.at('pub', 'q3'), careful.at('copy'));
  await careful.follow([ALLOW_ALL]);
  assertRead(await careful.read('pub/q3'));
});

test('[POL-01] [TOOL-04] a denial after opening is signed as one, and leaves no content on the disk', async (t) => {
  const rig = await office(t);
  const { root, at, dir } = rig;
  symlinkSync('../salaries', at('pub', 'folder'));
  await rig.follow(denySalaries(root));
  const answer = await rig.read('pub/folder/q3');
  assertDenied(answer, /no-salaries/);
  const envelope = Buffer.from(answer.receipt).toString('utf8');
  const deviceKeys = [verifierFromPem(rig.device.key.publicPem)];
  const { value, error } = verifyDeviceReceipt({ envelope, deviceKeys });
  if (error !== undefined) throw error;
  assert.deepEqual([value.outcome, value.errorId], ['denied', 'policy.denied']);
  assert.equal(value.policyId, 'test@2');
  assert.equal(value.resultDigest, undefined);
  const state = join(dir, 'state');
  const files = readdirSync(state, { recursive: true, withFileTypes: true });
  const journal = files.filter((entry) => entry.isFile());
  assert.ok(journal.length > 0);
  for (const { parentPath, name } of journal) {
    assert.ok(!readFileSync(join(parentPath, name)).includes(SECRET), name);
  }
});

const REPORT = 'zerolatency/opened';

test('[POL-01] a server that is not ours is judged by its report, and without one by the argument', async (t) => {
  const rules = [ALLOW_ALL, ...denySalaries('/srv').slice(1)].map((rule) => ({
    ...rule,
    tools: ['*'],
  }));
  const spec = fixtureSpec('answers-as-told', { effects: { echo: 'none' } });
  const rig = await runRig(t, { servers: () => [spec], rules });
  await rig.relay.offering('answers-as-told.echo');
  const answer = (report: unknown, path = '/srv/pub/q3') => {
    const _meta = report === undefined ? {} : { [REPORT]: report };
    const result = { content: [{ type: 'text', text: SECRET }], _meta };
    return rig.host.call({ server: spec.name, tool: 'echo', args: { path, result } });
  };
  const opened = (path: string, links = 1) => [{ argument: 'path', path, links }];
  assert.equal((await answer(undefined)).status, 'done');
  assert.equal((await answer([])).status, 'done');
  assert.equal((await answer(opened('/srv/pub/q3'))).status, 'done');
  assertDenied(await answer(opened('/srv/salaries/q3')), /no-salaries denies the file/);
  assertDenied(await answer(opened('salaries/q3')), /no-salaries denies the file/);
  assertDenied(await answer(opened('/srv/pub/q3', 2)), /no-salaries denies the file/);
  assertDenied(await answer(undefined, 'q3'), /no-salaries denies it/);
  for (const report of ['/srv/pub', {}, [{}], [null], Array(65).fill(opened('/srv/pub')[0])]) {
    const { status, error, text } = await answer(report);
    assert.deepEqual([status, error?.id, text], ['failed', 'tool.result_invalid', '']);
  }
});

test('[POL-01] a tool that may have had effects is not denied afterwards: its result is withheld', async (t) => {
  const spec = fixtureSpec('answers-as-told');
  const rules = denySalaries('/srv').map((rule) => ({ ...rule, tools: ['*'] }));
  const rig = await runRig(t, { servers: () => [spec], rules });
  await rig.relay.offering('answers-as-told.echo');
  const report = [{ argument: 'path', path: '/srv/salaries/q3', links: 1 }];
  const result = { content: [{ type: 'text', text: SECRET }], _meta: { [REPORT]: report } };
  const args = { path: '/srv/pub/q3', result };
  const { status, error, text } = await rig.host.call({ server: spec.name, tool: 'echo', args });
  assert.deepEqual([status, error?.id, text], ['failed', 'policy.denied', '']);
  assert.match(error?.message ?? '', /the tool has run, and its result is withheld/);
});

const FOLDERS = ['salaries', 'salaries/deep', 'pub', 'pub/sub', 'other'];
const NAMES = ['a', 'b', 'c'];
const place = fc.tuple(fc.constantFrom(...FOLDERS), fc.constantFrom(...NAMES));
const target = fc.oneof(
  fc.constantFrom('', ...FOLDERS),
  place.map((parts) => parts.join('/')),
);
interface Entry {
  readonly kind: string;
  readonly place: readonly [string, string];
  readonly target: string;
}

const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom('file', 'file', 'symlink', 'absolute symlink', 'hard link'),
  place,
  target,
});
const spelled = fc
  .array(
    fc.constantFrom(...NAMES, ...FOLDERS, '..', '.', '', 'SALARIES', 'sub', 'deep', '%2e%2e', 'a.'),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) => parts.join('/'));
const paths = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: place.map((parts) => parts.join('/')) },
    { weight: 1, arbitrary: spelled },
  ),
  { minLength: 8, maxLength: 8 },
);

/** What was first made below salaries is secret, whatever names it has later. */
function plant(root: string, entries: readonly Entry[]): void {
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true });
  for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true });
  for (const { kind, place: parts, target: to } of entries) {
    const path = join(root, ...parts);
    const leadsTo = join(root, to);
    try {
      if (kind === 'hard link') linkSync(leadsTo, path);
      else if (kind === 'symlink') symlinkSync(relative(join(path, '..'), leadsTo), path);
      else if (kind === 'absolute symlink') symlinkSync(leadsTo, path);
      else {
        writeFileSync(path, parts[0].startsWith('salaries') ? SECRET : 'public', { flag: 'wx' });
      }
    } catch {
      // The name is taken, or there is nothing to link.
    }
  }
}

test('[POL-01] [BRG-03] whatever links there are and however a path is spelled, a denied file is not read', async (t) => {
  const { root, read, follow } = await office(t);
  await follow(denySalaries(root));
  const seen = { released: 0, deniedAfterOpening: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(entry, { minLength: 8, maxLength: 16 }),
      paths,
      async (entries, asked) => {
        plant(root, entries);
        const spellings = asked.flatMap((path) => [path, `${root}/${path}`]);
        for (const answer of await Promise.all(spellings.map((path) => read(path)))) {
          assert.ok(!answer.text.includes(SECRET), answer.text);
          if (answer.status === 'done') assertRead(answer);
          if (answer.status === 'done') seen.released += 1;
          if (/that was opened/.test(answer.error?.message ?? '')) seen.deniedAfterOpening += 1;
        }
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(seen.released > 5 && seen.deniedAfterOpening > 5, JSON.stringify(seen));
});
