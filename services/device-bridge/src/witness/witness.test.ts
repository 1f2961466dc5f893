import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { openLedger, proveConsistency } from '@zerolatency/ledger';
import { claimedCheckpoint, signCheckpoint } from '@zerolatency/ledger/checkpoint';
import { proofText } from '@zerolatency/ledger/proof';
import { WitnessedSchema, WitnessSchema } from '@zerolatency/proto/witness';
import { generateKeyPair, type Signer, signerFromPem } from '@zerolatency/signing';
import { tempDir } from '@zerolatency/testing';
import { openCheckpoints, readHostKeys } from '../adapters/checkpoints/checkpoint-folder.ts';
import { Witness, type WitnessResult } from './witness.ts';

const host = signerFromPem(generateKeyPair().privatePem);
const record = { kind: 'host.started', body: { version: '1.2.3' } } as const;

/** A ledger in a folder of its own, with its newest note. */
async function ledgerOf(t: TestContext, { signer = host }: { readonly signer?: Signer } = {}) {
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => ledger.close());
  const dir = tempDir(t);
  const ledger = await openLedger({ dir, signer, origin: 'test/host', fsync: false });
  const grow = async (records: number) => {
    for (let i = 0; i < records; i += 1) await ledger.append(record);
    return ledger.checkpoint();
  };
  const prove = (earlier: string, later: string) => proveConsistency(dir, earlier, later);
  return { grow, prove };
}

const ask = (note: string, earlierSize = 0, hashes: readonly Uint8Array[] = []) =>
  proofText({ kind: 'consistency', earlierSize, hashes, note });

interface Rig {
  readonly dir: string;
  readonly witness: Witness;
  readonly results: WitnessResult[];
  readonly errors: string[];
  setMs(nowMs: number): void;
  /** Returns the note that the device answers with. */
  ask(proof: string | Uint8Array, hostName?: string): Promise<string>;
}

async function rigOf(t: TestContext, dir = tempDir(t)): Promise<Rig> {
  const hostKeysDir = join(dir, 'keys');
  mkdirSync(hostKeysDir, { recursive: true });
  writeFileSync(join(hostKeysDir, 'host.pem'), pemOf(host));
  const results: WitnessResult[] = [];
  const errors: string[] = [];
  let answered = (_: Frame) => {};
  let nowMs = 0;
  const witness = new Witness({
    store: await openCheckpoints(join(dir, 'witness')),
    hostKeysDir,
    hostKeys: () => readHostKeys(hostKeysDir),
    send: (frame) => answered(frame),
    onResult: (result) => results.push(result),
    nowMs: () => nowMs,
    log: {
      debug() {},
      info() {},
      warn() {},
      error: (_fields: object, message: string) => void errors.push(message),
    },
  });
  const frame = { kind: FrameKind.WITNESS, flags: 0, device: 1, offset: 0, epoch: 7 };
  return {
    ...{ dir, witness, results, errors },
    setMs: (ms) => {
      nowMs = ms;
    },
    ask: (proof, hostName = 'host-1') => {
      const payload =
        typeof proof === 'string'
          ? toBinary(WitnessSchema, create(WitnessSchema, { proof }))
          : proof;
      const { promise, resolve } = Promise.withResolvers<string>();
      const callId = randomBytes(16);
      answered = (answer) => {
        if (Buffer.compare(answer.callId, callId) !== 0) return;
        assert.deepEqual([answer.kind, answer.device], [FrameKind.WITNESSED, 0]);
        resolve(fromBinary(WitnessedSchema, answer.payload).checkpoint);
      };
      witness.hear({ ...frame, callId, payload }, hostName);
      return promise;
    },
  };
}

function pemOf(signer: Signer): string {
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), signer.publicKey]);
  return `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`;
}

test('[AUD-04] a device keeps the newest checkpoint as long as each continues the one before', async (t) => {
  const ledger = await ledgerOf(t);
  const rig = await rigOf(t);
  const first = await ledger.grow(3);
  assert.equal(await rig.ask(ask(first)), first);
  const second = await ledger.grow(4);
  assert.equal(await rig.ask(ask(second)), first);
  assert.equal(await rig.ask(await ledger.prove(first, second)), second);
  assert.equal(await rig.ask(ask(second)), second);
  assert.equal(await rig.ask(ask(first)), second);
  assert.deepEqual(rig.results, ['kept', 'asked', 'kept', 'known', 'older']);

  // A new bridge on the same disk remembers it.
  const later = await rigOf(t, rig.dir);
  assert.equal(await later.ask(ask(await ledger.grow(1))), second);
  const { state, ledgers } = later.witness.status();
  assert.deepEqual([state, ledgers.map(({ records }) => records)], ['active', [8]]);
});

test('[AUD-04] a device refuses a ledger that was rewritten, and keeps both checkpoints', async (t) => {
  const honest = await ledgerOf(t);
  const rig = await rigOf(t);
  const kept = await honest.grow(3);
  await rig.ask(ask(kept));
  const continued = await honest.grow(6);
  const good = await honest.prove(kept, continued);
  const same = await forged(kept, 4, 0);
  const longer = await forged(kept, 9, 4);
  // Without a proof, with the proof of another tree, and with other records under the same size.
  for (const proof of [ask(longer, 4), good.replace(continued, longer), ask(same)]) {
    assert.equal(await rig.ask(proof), kept);
  }
  assert.deepEqual(rig.results.slice(1), ['refused', 'refused', 'refused']);
  assert.equal(rig.errors.length, 1);
  const doubt = rig.witness.status();
  assert.equal(doubt.state, 'doubtful');
  assert.match(doubt.why ?? '', /over 9 records does not continue the one over 4; hold it to both/);
  const files = readdirSync(join(rig.dir, 'witness')).sort();
  const [keptText, refusedText] = files.map((name) =>
    readFileSync(join(rig.dir, 'witness', name), 'utf8'),
  );
  assert.deepEqual([keptText, refusedText], [kept, longer]);

  // The honest ledger goes on, and only a person settles the doubt.
  assert.equal(await rig.ask(good), continued);
  const later = await rigOf(t, rig.dir);
  assert.equal(later.witness.status().state, 'doubtful');
  rmSync(join(rig.dir, 'witness', files[1]!));
  assert.equal(later.witness.status().state, 'active');
});

/** Another tree that the host's own key signed for. */
async function forged(note: string, size: number, fill: number): Promise<string> {
  const { origin, ledgerId } = claimedCheckpoint(note)!;
  return signCheckpoint({ origin, ledgerId, size, root: Buffer.alloc(32, fill) }, host);
}

test('[AUD-04] what a hostile host sends is bounded, and moves no checkpoint', async (t) => {
  const ledger = await ledgerOf(t);
  const rig = await rigOf(t);
  const kept = await ledger.grow(3);
  await rig.ask(ask(kept));
  const later = await ledger.grow(9);
  const hash = Buffer.alloc(32, 1);
  const hostile: readonly (string | Uint8Array)[] = [
    '',
    randomBytes(5_000),
    randomBytes(100_000).toString('latin1'),
    ask('not a note'),
    ask(`${later.trimEnd()} \n`),
    ask(later + later.slice(later.indexOf('\n\n') + 2).repeat(50)),
    ask(
      later,
      4,
      Array.from({ length: 10_000 }, () => hash),
    ),
    ask(
      later,
      4,
      Array.from({ length: 64 }, () => hash),
    ),
    `old ${'9'.repeat(400)}\n\n${later}`,
  ];
  for (const proof of hostile) assert.equal(await rig.ask(proof), '');
  assert.deepEqual(new Set(rig.results.slice(1)), new Set(['malformed']));
  assert.equal(await rig.ask(ask(later)), kept);
  assert.equal(rig.witness.status().state, 'active');
});

test('[AUD-04] checkpoints of hosts without a key are not kept, and the status names the key', async (t) => {
  const stranger = signerFromPem(generateKeyPair().privatePem);
  const ledger = await ledgerOf(t, { signer: stranger });
  const rig = await rigOf(t);
  const note = await ledger.grow(2);
  assert.equal(await rig.ask(ask(note), 'host-2'), '');
  assert.deepEqual(rig.results, ['unknown_key']);
  const { state, why = '' } = rig.witness.status();
  assert.equal(state, 'doubtful');
  assert.match(why, /signed the checkpoints of test\/host \(key hash [0-9a-f]{8}\): add/);
  writeFileSync(join(rig.dir, 'keys', 'other.pem'), pemOf(stranger));
  assert.equal(await rig.ask(ask(note), 'host-2'), note);
  assert.equal(rig.witness.status().state, 'active');
});

test('[AUD-04] a host that names another ledger each time makes the device forget none', async (t) => {
  const rig = await rigOf(t);
  const note = await (await ledgerOf(t)).grow(1);
  await rig.ask(ask(note));
  for (let i = 1; i < 40; i += 1) {
    rig.setMs(i * 1_000);
    const ledgerId = i.toString(16).padStart(32, '0');
    await rig.ask(ask(await forged(note.replace(/[0-9a-f]{32}/g, ledgerId), 5, i)));
  }
  const { ledgers, why = '' } = rig.witness.status();
  assert.equal(ledgers.length, 16);
  assert.equal(rig.results.filter((result) => result === 'full').length, 24);
  assert.match(why, /16 ledgers of test\/host are witnessed, and ledger 0+27 is not/);
  rig.setMs(100_000);
  assert.equal(await rig.ask(ask(note)), note);
});

test('[AUD-04] a flood of checkpoints is dropped beyond an allowance', async (t) => {
  const rig = await rigOf(t);
  const note = await (await ledgerOf(t)).grow(1);
  await rig.ask(ask(note));
  for (let i = 0; i < 1_000; i += 1) void rig.ask(ask(note));
  const dropped = rig.results.filter((result) => result === 'busy').length;
  assert.ok(dropped >= 900, `${dropped} were dropped`);
});

test('[AUD-04] no checkpoint takes the place of one that cannot be read', async (t) => {
  const ledger = await ledgerOf(t);
  const rig = await rigOf(t);
  const note = await ledger.grow(1);
  await rig.ask(ask(note));
  const [name = ''] = readdirSync(join(rig.dir, 'witness'));
  const file = join(rig.dir, 'witness', name);
  writeFileSync(file, 'cut');
  const later = await rigOf(t, rig.dir);
  assert.equal(await later.ask(ask(await ledger.grow(1))), '');
  assert.deepEqual(later.results, ['failed']);
  assert.match(later.witness.status().why ?? '', /is not a checkpoint: restore it, or remove it/);
  assert.equal(readFileSync(file, 'utf8'), 'cut');
});
