import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allow, deny, sampleBundle } from '@zerolatency/policy/testing';
import { diffBundles } from './diff-bundles.ts';

test('[POL-07] a diff lists what was added, removed and changed', () => {
  const before = sampleBundle({ rules: [allow(), deny({ id: 'gone' })] });
  const rules = [deny({ id: 'new' }), allow({ caps: { maxBytes: 1 }, tools: ['fs.*'] })];
  const diff = diffBundles(before, sampleBundle({ version: 2, rules }));
  assert.deepEqual(diff.header, [{ field: 'version', before: 1, after: 2 }]);
  assert.deepEqual(
    diff.added.map(({ id }) => id),
    ['new'],
  );
  assert.deepEqual(
    diff.removed.map(({ id }) => id),
    ['gone'],
  );
  assert.deepEqual(
    diff.changed.map(({ id, fields }) => [id, fields]),
    [['read', ['tools', 'caps']]],
  );
});

test('[POL-07] the order of rules and of fields makes no difference', () => {
  const rules = [allow({ caps: { maxBytes: 1, timeoutMs: 2 } }), deny()];
  const other = [deny(), allow({ caps: { timeoutMs: 2, maxBytes: 1 } })];
  const diff = diffBundles(sampleBundle({ rules }), sampleBundle({ rules: other }));
  assert.deepEqual(diff, { header: [], added: [], removed: [], changed: [] });
});
