import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEnrolmentCode, enrolmentCodeHash, parseEnrolmentCode } from './enrolment-code.ts';

test('[BRG-04] a code reads the same in any case, with dashes, spaces or neither', () => {
  for (let i = 0; i < 200; i++) {
    const code = createEnrolmentCode();
    assert.match(code, /^([0-9A-HJKMNP-TV-Z]{5}-){3}[0-9A-HJKMNP-TV-Z]{5}$/);
    const plain = code.replaceAll('-', '');
    const spellings = [code, plain, code.toLowerCase(), [...plain].join(' '), ` ${code}\n`];
    spellings.push(plain.replaceAll('0', 'o').replaceAll('1', i % 2 === 0 ? 'l' : 'I'));
    for (const spelling of spellings) assert.equal(parseEnrolmentCode(spelling).value, plain);
  }
});

test('[BRG-04] a mistyped code is noticed before it is sent', () => {
  const swapped: boolean[] = [];
  for (let i = 0; i < 500; i++) {
    const [first = '', ...rest] = createEnrolmentCode();
    const typo = (first === 'A' ? 'B' : 'A') + rest.join('');
    swapped.push(parseEnrolmentCode(typo).error !== undefined);
  }
  // One in 1,024 passes.
  assert.ok(swapped.filter(Boolean).length >= 490);
  for (const text of ['', '-', 'U'.repeat(20), '0'.repeat(21), 'é'.repeat(20), '0'.repeat(1e6)]) {
    assert.match(parseEnrolmentCode(text).error ?? '', /code/);
  }
});

test('[BRG-04] codes do not repeat, and neither do their hashes', () => {
  const codes = Array.from({ length: 1000 }, createEnrolmentCode);
  assert.equal(new Set(codes.map(enrolmentCodeHash)).size, 1000);
});
