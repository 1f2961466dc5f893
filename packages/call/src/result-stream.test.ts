import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResultInbox, ResultOutbox } from './result-stream.ts';

test('[RLY-07] the inbox delivers every byte once and in order, whatever is repeated or early', () => {
  const result = Buffer.from(Array.from({ length: 200 }, (_, index) => index));
  const chunk = fc.tuple(fc.nat(200), fc.nat(60));
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 40 }), (chunks) => {
      const inbox = new ResultInbox({ windowBytes: 1_000, maxBytes: 1_000 });
      const taken: Uint8Array[] = [];
      for (const [start, length] of chunks) {
        const fresh = inbox.accept(start, result.subarray(start, start + length));
        if (fresh) taken.push(fresh);
      }
      assert.deepEqual(Buffer.concat(taken), result.subarray(0, inbox.received));
    }),
  );
});

test('[RLY-07] the inbox accepts no byte beyond its credit and grants credit only for consumed bytes', () => {
  const inbox = new ResultInbox({ windowBytes: 10, maxBytes: 25 });
  assert.equal(inbox.accept(0, new Uint8Array(50))?.length, 10);
  assert.equal(inbox.accept(10, new Uint8Array(50)), undefined);
  assert.equal(inbox.consume(2), false, 'too little to be worth a frame');
  assert.equal(inbox.consume(3), true);
  assert.equal(inbox.granted, 15);
  inbox.accept(10, new Uint8Array(5));
  inbox.consume(1_000);
  assert.equal(inbox.granted, 25, 'never beyond the bound on the whole result');
});

test('[RLY-07] bytes that were seen before, and those beyond the credit, are cut off a chunk', () => {
  const inbox = new ResultInbox({ windowBytes: 10, maxBytes: 25 });
  inbox.accept(0, Buffer.from('abcd'));
  const fresh = inbox.accept(2, Buffer.from('cdefghijklmnop'));
  assert.equal(Buffer.from(fresh ?? []).toString(), 'efghij');
});

test('[RLY-07] the outbox keeps no byte of a freed result', () => {
  const outbox = new ResultOutbox();
  outbox.result = Buffer.alloc(100);
  outbox.allow(100);
  outbox.free();
  assert.equal(outbox.result.length, 0);
  assert.equal(outbox.next(), undefined);
});

test('[RLY-07] the outbox sends within its credit, from any offset', () => {
  const result = Buffer.alloc(200_000, 'abcdefghijklmnopqrstuvwxyz');
  fc.assert(
    fc.property(fc.nat(300_000), fc.nat(300_000), (offset, credit) => {
      const outbox = new ResultOutbox();
      outbox.result = result;
      outbox.rewind(offset);
      outbox.allow(credit);
      const sent: Uint8Array[] = [];
      for (let chunk = outbox.next(); chunk; chunk = outbox.next()) sent.push(chunk.bytes);
      assert.ok(sent.every((bytes) => bytes.length <= 64 * 1024));
      assert.ok(Buffer.concat(sent).equals(result.subarray(offset, Math.max(offset, credit))));
    }),
  );
});
