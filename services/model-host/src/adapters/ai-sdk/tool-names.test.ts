import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toolNameReader, vendorToolName } from './tool-names.ts';

const server = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,63}$/);
const tool = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/);
const name = fc.tuple(server, tool).map((parts) => parts.join('.'));

test('[PROV-02] every tool has a name that all vendors accept, and is found by it', () => {
  assert.equal(vendorToolName('fs.read'), 'fs_read');
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 20 }), (names) => {
      const read = toolNameReader(names.map((each) => ({ name: each })));
      for (const each of names) {
        assert.match(vendorToolName(each), /^[A-Za-z0-9_-]{1,64}$/);
        assert.equal(read(vendorToolName(each)), each);
      }
    }),
  );
});

test('[PROV-02] tools with similar names keep names of their own', () => {
  const long = 'x'.repeat(64);
  const similar = ['a.b_c', 'a_b.c', 'a.b.c', 'a.b__c', `a.${long}y`, `a.${long}z`, 'a._b', 'a_.b'];
  // The name that the digest of another one leads to.
  similar.push(vendorToolName('a.b.c').replace('_', '.'));
  assert.equal(new Set(similar.map(vendorToolName)).size, similar.length);
});

test('a name that was not offered is left as it is', () => {
  assert.equal(toolNameReader([{ name: 'fs.read' }])('fs.write'), 'fs.write');
});
