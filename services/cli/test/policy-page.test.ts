import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { fakeTerminal } from './fake-terminal.ts';
import { runZl } from './installed.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/policy.md'), 'utf8');
const zl = (...args: string[]) => runZl(fakeTerminal(), args);
/** A document names its schema; a part of one does not. */
const [bundle = '', manifest = ''] = [...page.matchAll(/```json\n(.*?)```/gs)]
  .map(([, text = '']) => text)
  .filter((text) => text.includes('"schema"'));

test('the examples of docs/policy.md can be signed as they stand', async (t) => {
  const dir = tempDir(t);
  await zl('policy', 'keygen', '--out', join(dir, 'key'));
  for (const [kind, text] of Object.entries({ policy: bundle, manifest })) {
    const file = join(dir, `${kind}.json`);
    await writeFile(file, text);
    const key = join(dir, 'key', 'private.pem');
    const signed = await zl(kind, 'sign', file, '--key', key, '--out', join(dir, 'signed.json'));
    assert.equal(signed.status, 0, signed.stderr);
  }
});

test('each call that docs/policy.md asks about is answered as it says', async (t) => {
  const file = join(tempDir(t), 'bundle.json');
  await writeFile(file, bundle);
  const questions = [...page.matchAll(/^ask --arguments '(.*?)' (--at .*?) +# (.*)$/gm)];
  assert.ok(questions.length >= 7, String(questions.length));
  for (const [, given = '', options = '', answer = ''] of questions) {
    const call = ['policy', 'explain', file, '--tool', 'fs.read', '--role', 'analyst'];
    const ran = await zl(...call, '--arguments', given, ...options.split(' '));
    assert.equal(ran.stdout.split('\n')[0], answer, given);
    assert.equal(ran.status, answer.startsWith('allow') ? 0 : 1);
  }
});

test('docs/policy.md names every field of the contracts', () => {
  const fieldsOf = (schema: string): string[] => {
    const path = join(import.meta.dirname, `../../../contracts/policy/${schema}.schema.json`);
    const names = new Set<string>();
    const visit = (node: unknown): void => {
      if (typeof node !== 'object' || node === null) return;
      if ('properties' in node)
        for (const name of Object.keys(node.properties ?? {})) names.add(name);
      Object.values(node).forEach(visit);
    };
    visit(JSON.parse(readFileSync(path, 'utf8')));
    return [...names];
  };
  const missing = [...fieldsOf('bundle'), ...fieldsOf('manifest')].filter(
    (name) => !new RegExp(`[\`"\\].]${name}[\`"]`).test(page),
  );
  assert.deepEqual(missing, []);
});
