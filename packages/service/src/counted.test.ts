import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted } from './counted.ts';

test('only one is singular', () => {
  const links = [0, 1, 2].map((count) => counted(count, 'link'));
  assert.deepEqual(links, ['0 links', '1 link', '2 links']);
});
