import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter, type LongLine } from './line-splitter.ts';

const BOUND = 300;

function split(text: string, cuts: readonly number[]) {
  const bytes = Buffer.from(text);
  const lines: string[] = [];
  const longLines: LongLine[] = [];
  const splitter = new LineSplitter(BOUND, {
    onLine: (line) => lines.push(line),
    onLongLine: (line) => longLines.push(line),
  });
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...places, bytes.length]) {
    assert.ok(splitter.push(bytes.subarray(from, to)));
    from = to;
  }
  return { lines, longLines };
}

test('however a stream is cut into chunks, the same lines come out', () => {
  const line = fc
    .string({ unit: 'grapheme', maxLength: 6 })
    .map((text) => text.replaceAll('\n', ''));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
      const short = lines.filter((each) => Buffer.byteLength(each) <= BOUND);
      const text = short.map((each) => `${each}\n`).join('');
      assert.deepEqual(split(text, cuts), { lines: short, longLines: [] });
    }),
  );
});

test('however it is cut, a line over the bound is skipped and its ends are reported', () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.integer({ min: 1, max: 1_000 }), (cuts, over) => {
      const long = `head${'x'.repeat(BOUND + over - 8)}tail`;
      const { lines, longLines } = split(`before\n${long}\nafter\n`, cuts);
      assert.deepEqual(lines, ['before', 'after']);
      assert.deepEqual(longLines, [
        { head: long.slice(0, 256), tail: long.slice(-256), bytes: long.length },
      ]);
    }),
  );
});

test('a line without an end is given up', () => {
  const splitter = new LineSplitter(BOUND, {
    onLine: () => assert.fail(),
    onLongLine: () => assert.fail(),
  });
  const chunk = Buffer.alloc(64 * 1024 * 1024, 'x');
  const reads: boolean[] = [];
  while (reads.at(-1) !== false) reads.push(splitter.push(chunk));
  assert.equal(reads.length, 5);
});
