import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from './line-splitter.ts';

const BOUND = 40;

function split(text: string, cuts: readonly number[]) {
  const bytes = Buffer.from(text);
  const splitter = new LineSplitter(BOUND);
  const lines: string[] = [];
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let ok = true;
  let from = 0;
  for (const to of [...places, bytes.length]) {
    ok &&= splitter.push(bytes.subarray(from, to), (line) => lines.push(line));
    from = to;
  }
  return { ok, lines };
}

test('however a stream is cut into chunks, the same lines come out', () => {
  const line = fc
    .string({ unit: 'grapheme', maxLength: 6 })
    .map((text) => text.replaceAll('\n', ''));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
      const short = lines.filter((each) => Buffer.byteLength(each) <= BOUND);
      const text = short.map((each) => `${each}\n`).join('');
      assert.deepEqual(split(text, cuts), { ok: true, lines: short });
    }),
  );
});

test('a line over the bound is refused however it is cut, and before it ends', () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.boolean(), (cuts, ends) => {
      const text = `ok\n${'x'.repeat(BOUND + 1)}${ends ? '\n' : ''}`;
      assert.equal(split(text, cuts).ok, false);
    }),
  );
});
