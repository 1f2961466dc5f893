import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { leafHash, MerkleFrontier, nodeHash } from './tree.ts';

// The inputs and roots that implementations of Certificate Transparency test against.
const INPUTS = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('roots equal those that Certificate Transparency publishes', () => {
  const frontier = new MerkleFrontier();
  assert.equal(hex(frontier.root()), ROOTS[0]);
  INPUTS.forEach((input, i) => {
    frontier.push(leafHash(Buffer.from(input, 'hex')));
    assert.equal(hex(frontier.root()), ROOTS[i + 1]);
  });
});

test('a tree grown leaf by leaf has the root that RFC 6962 defines', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 70 }), (inputs) => {
      const leaves = inputs.map(leafHash);
      const frontier = new MerkleFrontier();
      for (const leaf of leaves) frontier.push(leaf);
      if (leaves.length > 0) assert.equal(hex(frontier.root()), hex(defined(leaves)));
      const bits = leaves.length.toString(2).replaceAll('0', '').length;
      assert.equal(frontier.roots.length, bits);
      const again = MerkleFrontier.of(frontier.size, frontier.roots);
      assert.equal(hex(again!.root()), hex(frontier.root()));
    }),
  );
});

test('a frontier that does not fit its size is refused', () => {
  assert.equal(MerkleFrontier.of(3, [leafHash(Buffer.of(1))]), undefined);
  assert.equal(MerkleFrontier.of(1, [Buffer.of(1)]), undefined);
});

/** RFC 6962 section 2.1, word for word. */
function defined(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return leaves[0]!;
  const half = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return nodeHash(defined(leaves.slice(0, half)), defined(leaves.slice(half)));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
