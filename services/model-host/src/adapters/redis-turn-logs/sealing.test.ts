import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Sealing } from './sealing.ts';

const OLD = { id: 'old', secret: 'o'.repeat(32) };
const NEW = { id: 'new', secret: 'n'.repeat(32) };
const TEXT = Buffer.from('what was said');
const LOST = { id: 'chat.events_lost' };

test('[HOST-06] sealed content opens for its tenant, its turn and its place, and nowhere else', () => {
  const sealing = new Sealing([NEW]);
  const seal = sealing.of('north', 'turn');
  const stored = seal.close(TEXT, 'turn 7');
  assert.doesNotMatch(Buffer.from(stored.slice(4), 'base64').toString('latin1'), /said/);
  assert.deepEqual(Buffer.from(sealing.of('north', 'turn').open(stored, 'turn 7')), TEXT);
  assert.throws(() => seal.open(stored, 'turn 8'), LOST);
  assert.throws(() => sealing.of('south', 'turn').open(stored, 'turn 7'), LOST);
  assert.throws(() => sealing.of('north', 'other').open(stored, 'turn 7'), LOST);
  assert.notEqual(seal.close(TEXT, 'turn 7'), stored);
});

test('any changed character of what is stored is refused', () => {
  const seal = new Sealing([NEW]).of('north', 'turn');
  const stored = seal.close(TEXT, 'p');
  for (let i = 0; i < stored.length; i += 1) {
    const other = stored[i] === 'A' ? 'B' : 'A';
    const changed = `${stored.slice(0, i)}${other}${stored.slice(i + 1)}`;
    // The last characters of base64 may hold bits that stand for nothing.
    if (Buffer.from(changed.slice(4), 'base64').equals(Buffer.from(stored.slice(4), 'base64'))) {
      if (changed.startsWith('new.')) continue;
    }
    assert.throws(() => seal.open(changed, 'p'), LOST);
  }
  for (const cut of ['', '.', 'new', 'new.', 'new.AAAA']) {
    assert.throws(() => seal.open(cut, 'p'), LOST);
  }
});

test('keys rotate: the first one seals, and every configured one opens', () => {
  const before = new Sealing([OLD]).of('north', 'turn');
  const during = new Sealing([NEW, OLD]).of('north', 'turn');
  const after = new Sealing([NEW]).of('north', 'turn');
  const old = before.close(TEXT, 'p');
  assert.deepEqual(Buffer.from(during.open(old, 'p')), TEXT);
  assert.deepEqual(Buffer.from(after.open(during.close(TEXT, 'p'), 'p')), TEXT);
  assert.throws(() => after.open(old, 'p'), LOST);
});

test('what is not sealed is refused where a key is configured, and the other way round', () => {
  const plain = new Sealing([]).of('north', 'turn');
  const sealed = new Sealing([NEW]).of('north', 'turn');
  assert.deepEqual(Buffer.from(plain.open(plain.close(TEXT, 'p'), 'p')), TEXT);
  assert.throws(() => sealed.open(plain.close(TEXT, 'p'), 'p'), LOST);
  assert.throws(() => plain.open(sealed.close(TEXT, 'p'), 'p'), LOST);
});

test('a short secret is refused at start', () => {
  const short = () => new Sealing([{ id: 'k', secret: 'x'.repeat(31) }]);
  assert.throws(short, { id: 'config.invalid', message: /secret of k is shorter than 32 bytes/ });
});
