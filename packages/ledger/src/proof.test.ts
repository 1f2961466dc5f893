import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { type Checkpoint, signCheckpoint, verifyCheckpoint } from './checkpoint.ts';
import { openLedger } from './ledger.ts';
import { checkConsistency, checkInclusion, parseProof } from './proof.ts';
import { proveConsistency, proveInclusion } from './prove.ts';
import { readLedger } from './read.ts';
import { listSegments } from './segments.ts';

const signer = signerFromPem(generateKeyPair().privatePem);
const keys = [signer.verifier()];
const RECORDS = 21;

/** A ledger of several segments, and its checkpoint at each size. */
async function grown(t: TestContext, { maxSegmentBytes = 900 } = {}) {
  const dir = tempDir(t);
  const options = { dir, signer, origin: 'test/host', fsync: false, maxSegmentBytes };
  const ledger = await openLedger(options);
  const notes = [await ledger.checkpoint()];
  while (ledger.size < RECORDS) {
    await ledger.append({ kind: 'host.started', body: { version: '1.2.3' } });
    notes.push(await ledger.checkpoint());
  }
  await ledger.close();
  const leaves: Uint8Array[] = [];
  for await (const { leafHash } of readLedger(dir)) leaves.push(Buffer.from(leafHash, 'hex'));
  return { dir, notes, leaves };
}

function signed(note: string): Checkpoint {
  return verifyCheckpoint(note, keys).value!;
}

function inclusion(text: string) {
  const proof = parseProof(text);
  assert.equal(proof?.kind, 'inclusion');
  return proof;
}

function consistency(text: string) {
  const proof = parseProof(text);
  assert.equal(proof?.kind, 'consistency');
  return proof;
}

test('[AUD-04] every record is proved under every checkpoint that covers it, and no other record is', async (t) => {
  const { dir, notes, leaves } = await grown(t);
  assert.ok((await listSegments(dir)).length > 3);
  for (const note of notes) {
    const { size } = signed(note);
    for (let index = 0; index < size; index += 3) {
      const proof = inclusion(await proveInclusion(dir, { index }, note));
      assert.equal(checkInclusion(proof, { leafHash: leaves[index]!, keys }).error, undefined);
      const other = leaves[(index + 1) % leaves.length]!;
      assert.match(
        checkInclusion(proof, { leafHash: other, keys }).error ?? '',
        /is not in the tree/,
      );
    }
  }
});

test('[AUD-04] every checkpoint is proved to continue every earlier one', async (t) => {
  const { dir, notes } = await grown(t);
  for (const [i, note] of notes.entries()) {
    for (const earlierNote of notes.slice(0, i + 1)) {
      const earlier = signed(earlierNote);
      const proof = consistency(await proveConsistency(dir, earlierNote, note));
      assert.equal(checkConsistency(proof, { earlier, keys }).value?.size, signed(note).size);
      const forged = { ...earlier, root: Buffer.alloc(32) };
      assert.match(checkConsistency(proof, { earlier: forged, keys }).error ?? '', /not continue/);
    }
  }
});

test('[AUD-04] a proof continues only the checkpoint that it starts at', async (t) => {
  const { dir, notes } = await grown(t);
  const [, note = ''] = notes;
  const earlier = signed(note);
  const proof = consistency(await proveConsistency(dir, note));
  const errorFor = (change: object) =>
    checkConsistency(proof, { earlier: { ...earlier, ...change }, keys }).error ?? '';
  assert.equal(errorFor({}), '');
  assert.match(errorFor({ origin: 'test/other' }), /are of two ledgers/);
  assert.match(errorFor({ ledgerId: 'f'.repeat(32) }), /are of two ledgers/);
  assert.match(errorFor({ size: earlier.size + 1 }), /starts at \d+ records, not at \d+/);
});

test('[AUD-04] a proof with a changed line, or under another key, proves nothing', async (t) => {
  const { dir, notes, leaves } = await grown(t);
  const [earlierNote = ''] = notes.slice(12);
  const earlier = signed(earlierNote);
  const stranger = [signerFromPem(generateKeyPair().privatePem).verifier()];
  const texts = [
    await proveInclusion(dir, { index: 20 }),
    await proveConsistency(dir, earlierNote),
  ];
  const check = (text: string, by = keys) => {
    const proof = parseProof(text);
    if (proof === undefined) return 'no proof';
    return proof.kind === 'inclusion'
      ? checkInclusion(proof, { leafHash: leaves[20]!, keys: by }).error
      : checkConsistency(proof, { earlier, keys: by }).error;
  };
  for (const text of texts) {
    assert.equal(check(text), undefined);
    assert.match(check(text, stranger) ?? '', /no known key/);
    const lines = text.split('\n');
    for (const [i, line] of lines.slice(0, -1).entries()) {
      const swapped = line.replace(/[A-Za-z1-8](?=[^A-Za-z0-9]*$)/, 'Q');
      const changed = [lines.toSpliced(i, 1), lines.with(i, `${line}x`), lines.with(i, swapped)];
      for (const other of changed.map((parts) => parts.join('\n'))) {
        if (other !== text) assert.ok(check(other), `line ${i} of ${lines[0]}: ${line}`);
      }
    }
  }
});

test('[AUD-04] a ledger that was rewritten cannot be proved to continue a checkpoint kept elsewhere', async (t) => {
  const { notes } = await grown(t);
  const other = await grown(t);
  const id = signed(notes[0]!).ledgerId;
  await assert.rejects(proveConsistency(other.dir, notes[5]!), isError('config.invalid', id));
  const [, segment] = await listSegments(other.dir);
  const text = await readFile(segment!.path, 'utf8');
  await writeFile(segment!.path, text.replace('1.2.3', '9.9.9'));
  await assert.rejects(
    proveInclusion(other.dir, { index: segment!.firstIndex }),
    isError('ledger.corrupt', 'not those of the checkpoint'),
  );
  await assert.rejects(
    proveConsistency(other.dir, other.notes[1]!),
    isError('ledger.corrupt', 'not those of the checkpoint'),
  );
});

test('[AUD-04] a record is found by its audit id, and one above the checkpoint is not proved', async (t) => {
  const { dir, leaves, notes } = await grown(t);
  const leafHash = Buffer.from(leaves[17]!).toString('hex');
  assert.equal(inclusion(await proveInclusion(dir, { leafHash })).index, 17);
  const [older = ''] = notes.slice(4);
  await assert.rejects(
    proveInclusion(dir, { leafHash }, older),
    isError('config.invalid', 'no record has the audit id'),
  );
  await assert.rejects(proveInclusion(dir, { index: RECORDS + 9 }), isError('config.invalid', ''));
  const empty = await signCheckpoint({ ...signed(older), size: 0 }, signer);
  await assert.rejects(
    proveConsistency(dir, empty),
    isError('config.invalid', 'not the signed note of a ledger'),
  );
  assert.match(await readFile(join(dir, 'checkpoint'), 'utf8'), /^test\/host\//);
});

function isError(id: string, message: string) {
  return (reason: unknown) =>
    reason instanceof ZlError && reason.id === id && reason.message.includes(message);
}
