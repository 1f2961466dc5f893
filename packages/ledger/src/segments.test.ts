import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { type Line, readLines } from './segments.ts';

test('the lines of a segment are read whole, wherever a read ends', async (t) => {
  const path = join(tempDir(t), 'segment');
  const texts = Array.from({ length: 500 }, (_, n) => String(n % 10).repeat(n * 7));
  writeFileSync(path, `${texts.join('\n')}\ntorn`);
  const lines: Line[] = [];
  for await (const line of readLines(path)) lines.push(line);
  assert.deepEqual(
    lines.map(({ bytes }) => bytes.toString()),
    [...texts, 'torn'],
  );
  assert.deepEqual(
    lines.filter(({ isWhole }) => !isWhole).map(({ number }) => number),
    [501],
  );
  const last = lines.at(-1);
  assert.equal(last?.start, texts.join('\n').length + 1);
});
