import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import fc from 'fast-check';
import { Keyboard } from './keyboard.ts';

const BEGIN = '\u001b[200~';
const END = '\u001b[201~';
const CTRL_C = '\u0003';

/** A keyboard whose reader takes one line at each prompt, as readline does. */
async function typing(chunks: readonly (string | Buffer)[], { prompts = 100 } = {}) {
  const source = new PassThrough();
  let interrupts = 0;
  const keyboard = new Keyboard(source, () => {
    interrupts += 1;
  });
  const lines: string[] = [];
  let line = '';
  keyboard.on('data', (keys: Buffer) => {
    line += String(keys).replaceAll(BEGIN, () => `<${keyboard.nextPaste()}>`);
    if (!line.endsWith('\r')) return;
    keyboard.hold();
    lines.push(line.slice(0, -1));
    line = '';
  });
  for (const chunk of chunks) {
    source.write(chunk);
    await immediate();
  }
  const whileHeld = lines.length + line.length;
  for (let i = 0; i < prompts; i++) {
    keyboard.open();
    await immediate();
  }
  keyboard.close();
  return { lines, line, whileHeld, interrupts };
}

test('holds keys until it is opened, and then gives one line at a time', async () => {
  const typed = await typing(['one\rtw', 'o\rhal', 'f']);
  assert.deepEqual(typed, { lines: ['one', 'two'], line: 'half', whileHeld: 0, interrupts: 0 });
  const { lines, line } = await typing(['one\rtwo\r'], { prompts: 1 });
  assert.deepEqual([lines, line], [['one'], '']);
});

test('a paste keeps its line ends, and loses what controls the terminal', async () => {
  const { lines } = await typing([`a${BEGIN}one\r\n\ttwo\rthree\u001b[2J\u202e\n\n${END}b\r`]);
  assert.deepEqual(lines, ['a<one\n\ttwo\nthree>b']);
});

test('what is typed and pasted is the same however its bytes are split', async () => {
  const text = `é1\r${BEGIN}p\rq${END}x\u001b[A${BEGIN}${END}\r${BEGIN}\u001b[20${END}\rend`;
  const bytes = Buffer.from(text);
  const whole = await typing([bytes]);
  assert.deepEqual(whole.lines, ['é1', '<p\nq>x\u001b[A<>', '<20>']);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length)), async (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
      assert.deepEqual(await typing(chunks), whole);
    }),
    { numRuns: 50 },
  );
});

test('Ctrl-C while keys are held interrupts, and drops the keys before it', async () => {
  const typed = await typing([`one\r${BEGIN}p${END}`, `two${CTRL_C}three\r`]);
  assert.deepEqual([typed.interrupts, typed.lines], [1, ['three']]);
});

test('Ctrl-C is text in a paste, and ends a paste that has no end', async () => {
  const pasted = await typing([`${BEGIN}a${CTRL_C}b\r${END}\r`]);
  assert.deepEqual([pasted.interrupts, pasted.lines], [0, ['<ab>']]);
  const endless = await typing([`${BEGIN}lost\r`, 'lost\r', CTRL_C, 'kept\r']);
  assert.deepEqual([endless.interrupts, endless.lines], [1, ['kept']]);
});

test('holds about a million characters, and nothing beyond', async () => {
  const piece = 'x'.repeat(100_000);
  const typed = await typing(Array.from({ length: 30 }, () => piece));
  assert.ok(typed.line.length > 900_000 && typed.line.length <= 1024 * 1024);
  const paste = await typing([BEGIN, ...Array.from({ length: 30 }, () => piece), END, '\r']);
  assert.ok((paste.lines[0]?.length ?? 0) <= 1024 * 1024 + 2, String(paste.lines[0]?.length));
});
