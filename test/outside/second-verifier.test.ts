import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  checkConsistency,
  checkInclusion,
  type LedgerEntry,
  openLedger,
  parseProof,
  proveConsistency,
  verifyCheckpoint,
  verifyLedger,
} from '@zerolatency/ledger';
import { digestOf, generateKeyPair, toBase64, verifierFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { BYTE_ALTERATIONS } from './altered-bytes.ts';
import {
  ALTERATIONS,
  type Draft,
  device,
  honestDrafts,
  host,
  KEYS,
  writeLedger,
} from './altered-ledgers.ts';
import {
  needsPython,
  ourVerdict,
  type Verdict,
  verifyOutside,
  writeKeys,
} from './second-verifier.ts';
import { blockOf, PAGE, pageWithExample, publicPem, workedExample } from './worked-example.ts';

const keys = [host.verifier()];
const receiptKeys = { hostKeys: keys, deviceKeys: [device.verifier()] };

/** What both say of the ledgers, by name; ours first. */
async function both(t: TestContext, ledgers: ReadonlyMap<string, string>, given = receiptKeys) {
  const pems = { host: KEYS.host.publicPem, device: KEYS.device.publicPem };
  if (given !== receiptKeys) pems.device = pems.host = generateKeyPair().publicPem;
  const theirs = verifyOutside([...ledgers.values()], writeKeys(join(tempDir(t), 'keys'), pems));
  const names = [...ledgers.keys()];
  const ours: [string, Verdict][] = [];
  for (const [name, dir] of ledgers) {
    const report = await verifyLedger(dir, { keys: given.hostKeys, receiptKeys: given });
    ours.push([name, ourVerdict(report)]);
  }
  return { ours, theirs: theirs.map((verdict, i) => [names[i], verdict]) };
}

/** Without what version 2 added, and with a call that its host could not record. */
function asFirstRelease(drafts: readonly Draft[]): Draft[] {
  const known = drafts.filter(({ kind }) => kind !== 'policy.withheld');
  return known.map((draft) => {
    const { kind, body } = draft;
    const lost = kind === 'turn' ? { callIds: [...Object(body.callIds), 'f'.repeat(32)] } : {};
    return { ...draft, v: 1, body: { ...body, ...lost } };
  });
}

/** The device came back with another journal before the call was sent. */
function intendedAgain(drafts: readonly Draft[]): Draft[] {
  return drafts.flatMap((draft) => {
    if (draft.kind !== 'call.intent') return [draft];
    return ['a', 'b'].map((journal) => {
      const target = { journalId: journal.repeat(32), deadlineUnixMs: 1_900_000_000_000 };
      return { ...draft, body: { ...draft.body, ...target, requestDigest: digestOf(journal) } };
    });
  });
}

async function honest(t: TestContext): Promise<string> {
  const dir = join(tempDir(t), 'honest');
  await writeLedger(dir, honestDrafts());
  return dir;
}

test(
  '[AUD-04] a second verifier agrees on every alteration by someone who holds the host key',
  needsPython(),
  async (t) => {
    const ledgers = new Map([['honest', await honest(t)]]);
    const dir = tempDir(t);
    for (const [i, { name, alter }] of ALTERATIONS.entries()) {
      ledgers.set(name, join(dir, String(i)));
      await writeLedger(join(dir, String(i)), alter(honestDrafts()));
    }
    const { ours, theirs } = await both(t, ledgers);
    assert.deepEqual(theirs, ours);
    assert.deepEqual(
      ours.filter(([, { verdict }]) => verdict !== 'altered').map(([name]) => name),
      ['honest'],
    );
  },
);

test(
  '[AUD-04] a second verifier agrees on every alteration of the files',
  needsPython(),
  async (t) => {
    const source = await honest(t);
    const dir = tempDir(t);
    const ledgers = new Map<string, string>();
    for (const [i, { name, alter }] of BYTE_ALTERATIONS.entries()) {
      const copy = join(dir, String(i));
      cpSync(source, copy, { recursive: true });
      alter(copy);
      ledgers.set(name, copy);
    }
    const { ours, theirs } = await both(t, ledgers);
    assert.deepEqual(theirs, ours);
    assert.deepEqual(
      ours.map(([name, { verdict }]) => [name, verdict]),
      BYTE_ALTERATIONS.map(({ name, leaves = 'altered' }) => [name, leaves]),
    );
  },
);

test(
  '[AUD-04] a second verifier agrees on missing keys, segments, open calls, ends and records of release 0.1.0',
  needsPython(),
  async (t) => {
    const dir = tempDir(t);
    const options = { signer: host, origin: 'outside', fsync: false, maxSegmentBytes: 900 };
    const ledger = await openLedger({ dir, ...options });
    const [, , policy, intent] = honestDrafts();
    await ledger.append(policy as unknown as LedgerEntry);
    await ledger.append(intent as unknown as LedgerEntry);
    for (let i = 0; i < 9; i++) {
      await ledger.append({ kind: 'host.started', body: { version: `1.0.${i}` } });
    }
    await ledger.append({
      kind: 'host.started',
      body: { version: 'é \u{1f600} \\ " \u007f \u2028' },
    });
    await ledger.close();
    const first = join(tempDir(t), 'first');
    await writeLedger(first, asFirstRelease(honestDrafts()));
    const again = join(tempDir(t), 'again');
    await writeLedger(again, intendedAgain(honestDrafts()));
    const ended = join(tempDir(t), 'ended');
    const end = { kind: 'ledger.ended', body: { by: '5e'.repeat(16) } } as const;
    await writeLedger(ended, [...honestDrafts(), end]);
    const ledgers = new Map([
      ['honest', await honest(t)],
      ['segments', dir],
      ['release 0.1.0', first],
      ['intended again', again],
      ['ended by another host', ended],
    ]);
    const { ours, theirs } = await both(t, ledgers);
    assert.deepEqual(theirs, ours);
    assert.deepEqual(
      ours.map(([, { verdict }]) => verdict),
      // The bundle of the second is not kept.
      ['valid', 'unchecked', 'valid', 'valid', 'valid'],
    );
    const stranger = verifierFromPem(generateKeyPair().publicPem);
    const unknown = await both(t, ledgers, { hostKeys: [stranger], deviceKeys: [stranger] });
    assert.deepEqual(unknown.theirs, unknown.ours);
    assert.deepEqual(
      unknown.ours.map(([, { verdict }]) => verdict),
      Array(5).fill('unchecked'),
    );
  },
);

test(
  '[AUD-04] whoever holds the host key rewrites a ledger, and a checkpoint kept elsewhere shows it',
  needsPython(),
  async (t) => {
    const dir = await honest(t);
    const note = readFileSync(join(dir, 'checkpoint'), 'utf8');
    const kept = join(tempDir(t), 'kept');
    writeFileSync(kept, note);
    const pems = { host: KEYS.host.publicPem, device: KEYS.device.publicPem };
    const paths = writeKeys(join(tempDir(t), 'keys'), pems);
    const stopped = honestDrafts().at(-1)!;
    // Nobody asked for the file, and the ledger goes on behind the checkpoint.
    const calls = new Set([
      'call.intent',
      'call.receipt',
      'policy.denied',
      'policy.withheld',
      'turn',
    ]);
    const rewritten = honestDrafts().filter(({ kind }) => !calls.has(kind));
    while (rewritten.length < honestDrafts().length + 2) rewritten.push(stopped);
    await writeLedger(dir, rewritten);

    const alone = await verifyLedger(dir, { keys, receiptKeys });
    assert.equal(alone.verdict, 'valid', 'the host can sign whatever it wants');
    const pinned = await verifyLedger(dir, { keys, receiptKeys, knownCheckpoints: [note] });
    assert.equal(pinned.firstBad?.reason, 'differs from the checkpoint');
    const [theirs] = verifyOutside([dir], { ...paths, checkpoints: [kept] });
    assert.deepEqual(theirs, ourVerdict(pinned));
    await assert.rejects(proveConsistency(dir, note), { id: 'ledger.corrupt' });

    const earlier = verifyCheckpoint(note, keys).value!;
    const newest = readFileSync(join(dir, 'checkpoint'), 'utf8');
    const own = verifyCheckpoint(newest, keys).value!;
    const path = await proveConsistency(dir, newest);
    for (const { size, root } of [earlier, own]) {
      const forged = parseProof(path.replace(/^old \d+\n/, `old ${size}\n${toBase64(root)}\n`));
      assert.equal(forged?.kind, 'consistency');
      assert.ok(checkConsistency(forged, { earlier, keys }).error);
    }
  },
);

test('[AUD-04] the example of docs/verify.md is what the programs write', async () => {
  const page = readFileSync(PAGE, 'utf8');
  assert.ok(page === (await pageWithExample()), 'run: node test/outside/worked-example.ts');
});

test('[AUD-04] the bytes of the page verify, taken from nowhere else', needsPython(), async (t) => {
  const page = readFileSync(PAGE, 'utf8');
  const example = page.slice(page.indexOf('<!-- The example'));
  const [bundleFile = ''] = /bundles\/[0-9a-f]{64}\.json/.exec(example) ?? [];
  const ledger = join(tempDir(t), 'ledger');
  const files = ['checkpoint', 'segment-0000000000000000.jsonl', bundleFile];
  for (const file of files) {
    const block = blockOf(example, file);
    mkdirSync(dirname(join(ledger, file)), { recursive: true });
    writeFileSync(join(ledger, file), file === bundleFile ? block.trimEnd() : block);
  }
  const pems = { host: blockOf(example, 'host.pem'), device: blockOf(example, 'device.pem') };
  const [verdict] = verifyOutside([ledger], writeKeys(join(tempDir(t), 'keys'), pems));
  const known = [verifierFromPem(pems.host)];
  const deviceKeys = [verifierFromPem(pems.device)];
  const report = await verifyLedger(ledger, {
    keys: known,
    receiptKeys: { hostKeys: known, deviceKeys },
  });
  assert.deepEqual([verdict?.verdict, verdict?.records], ['valid', 6]);
  assert.deepEqual([ourVerdict(report), report.decisions], [verdict, 1]);

  const proof = parseProof(blockOf(example, 'record-4.tlog-proof'));
  assert.equal(proof?.kind, 'inclusion');
  const { leaves, host: signer } = await workedExample();
  assert.equal(checkInclusion(proof, { leafHash: leaves[4]!, keys: known }).error, undefined);
  assert.equal(publicPem(signer), pems.host);
});
