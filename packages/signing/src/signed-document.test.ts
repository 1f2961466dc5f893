import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type DocumentHead,
  DocumentHolder,
  type DocumentKind,
  digestOf,
  generateKeyPair,
  memoryFloor,
  signDocument,
  signEnvelope,
  signerFromPem,
  verifyDocument,
} from './index.ts';

interface Note extends DocumentHead {
  readonly schema: 'zerolatency.note/v2';
  readonly text: string;
}

/** A kind without a lifetime. */
const NOTE: DocumentKind<Note> = {
  name: 'note',
  withoutIt: 'nothing happens',
  logField: 'note',
  errorId: 'request.invalid',
  payloadType: 'application/vnd.zerolatency.note+json',
  schema: 'zerolatency.note/v2',
  check: (value) =>
    isNote(value) ? { content: value } : { fault: 'schema or text is missing or wrong' },
};

function isNote(value: unknown): value is Note {
  if (typeof value !== 'object' || value === null) return false;
  return 'schema' in value && value.schema === 'zerolatency.note/v2' && 'text' in value;
}

const NOW = Date.UTC(2030, 0, 1);
const pair = generateKeyPair('ES256');
const signer = signerFromPem(pair.privatePem);
const keys = [pair.publicPem];

function note(changes: Partial<Note> = {}): Note {
  const issuedAt = new Date(NOW).toISOString();
  return { schema: 'zerolatency.note/v2', id: 'n', version: 1, issuedAt, text: 'hi', ...changes };
}

async function envelopeOf(content: object): Promise<string> {
  const payload = Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(content).sort())));
  return await signEnvelope({ payloadType: NOTE.payloadType, payload, keys: [signer] });
}

async function reasonOf(content: object): Promise<string> {
  const verified = verifyDocument(NOTE, await envelopeOf(content), { keys, nowMs: NOW });
  return 'error' in verified ? verified.error.reason : 'accepted';
}

test('a document without a lifetime stays active, and P-256 keys sign it too', async () => {
  const text = await signDocument(NOTE, note(), [signer]);
  const verified = verifyDocument(NOTE, text, { keys, nowMs: NOW + 10 ** 12 });
  assert.deepEqual('content' in verified && verified.content, note());
  const holder = new DocumentHolder(NOTE, { floor: memoryFloor(), keys });
  await holder.offer(text, NOW);
  const now = holder.current(NOW + 10 ** 12);
  assert.deepEqual(now.state === 'active' && [now.name, now.expiresAtMs], ['n@1', Infinity]);
});

test('a newer schema is refused as newer, and any other unknown schema as malformed', async () => {
  assert.equal(await reasonOf(note()), 'accepted');
  assert.equal(
    await reasonOf({ ...note(), schema: 'zerolatency.note/v3', more: 1 }),
    'newer_schema',
  );
  assert.equal(await reasonOf({ ...note(), schema: 'zerolatency.note/v10' }), 'newer_schema');
  for (const schema of ['zerolatency.note/v1', 'zerolatency.memo/v3', 'zerolatency.note/v3x', 7]) {
    assert.equal(await reasonOf({ ...note(), schema }), 'malformed', String(schema));
  }
});

test('a document that names its predecessor follows that one only', async () => {
  const holder = new DocumentHolder(NOTE, { floor: memoryFloor(), keys });
  const offer = async (changes: Partial<Note>) => {
    const offered = await holder.offer(await signDocument(NOTE, note(changes), [signer]), NOW);
    return 'error' in offered ? offered.error.reason : Object.keys(offered)[0];
  };
  const first = digestOf(note());
  const other = digestOf(note({ text: 'another' }));
  // Nothing is installed yet, so no predecessor can be compared.
  assert.equal(await offer({ previousDigest: other }), 'installed');
  const previousDigest = digestOf(note({ previousDigest: other }));
  assert.equal(await offer({ version: 2, previousDigest: first }), 'wrong_predecessor');
  assert.equal(await offer({ version: 2, previousDigest }), 'installed');
  // Version 3 was never seen here.
  assert.equal(await offer({ version: 4, previousDigest: other }), 'installed');
  assert.equal(await offer({ version: 5 }), 'installed');
  assert.equal(await offer({ version: 5, text: 'equivocation' }), 'rolled_back');
});

test('[POL-02] the predecessor is remembered across a restart', async () => {
  const floor = memoryFloor();
  const text = await signDocument(NOTE, note(), [signer]);
  await new DocumentHolder(NOTE, { floor, keys }).offer(text, NOW);
  const changes = { version: 2, previousDigest: digestOf(note({ text: 'another' })) };
  const next = await signDocument(NOTE, note(changes), [signer]);
  const offered = await new DocumentHolder(NOTE, { floor, keys }).offer(next, NOW);
  assert.equal('error' in offered && offered.error.reason, 'wrong_predecessor');
});
