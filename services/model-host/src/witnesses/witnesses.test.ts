import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import { openLedger, parseProof, proveConsistency, verifyCheckpoint } from '@zerolatency/ledger';
import { signCheckpoint } from '@zerolatency/ledger/checkpoint';
import { WitnessedSchema, WitnessSchema } from '@zerolatency/proto/witness';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { eventually, tempDir } from '@zerolatency/testing';
import type { DeviceConnection, DeviceRoute, RouteUser } from '../executors/device/remote-call.ts';
import { Witnesses, type WitnessRequestResult } from './witnesses.ts';

const signer = signerFromPem(generateKeyPair().privatePem);
const keys = [signer.verifier()];
const stranger = signerFromPem(generateKeyPair().privatePem);

/** What a device answers to a proof; undefined: nothing. */
type Answer = (proof: string) => string | undefined;

/** Keeps whatever it is asked to keep, if the proof begins where it is. */
function honest(kept = ''): { answer: Answer; kept: () => string } {
  return {
    kept: () => kept,
    answer: (text) => {
      const proof = parseProof(text);
      assert.equal(proof?.kind, 'consistency');
      const size = verifyCheckpoint(kept, keys).value?.size ?? 0;
      if (proof.earlierSize === size) kept = proof.note;
      return kept;
    },
  };
}

class FakeRoute implements DeviceRoute {
  readonly seen: Frame[] = [];
  readonly #users = new Map<string, RouteUser>();
  readonly #answer: Answer;
  connection: DeviceConnection | undefined;

  constructor(answer: Answer, { features = ['witness'] } = {}) {
    this.#answer = answer;
    const verifier = stranger.verifier();
    const journalId = new Uint8Array(16);
    const known = { device: 3, epoch: 5, journalId, servers: [], credential: '', verifier };
    this.connection = { ...known, features };
  }

  get users(): number {
    return this.#users.size;
  }

  ready(): Promise<never> {
    return Promise.reject(new ZlError('device.offline', 'nobody waits for a witness'));
  }

  attach(id: string, user: RouteUser): void {
    this.#users.set(id, user);
  }

  detach(id: string): void {
    this.#users.delete(id);
  }

  lose(): void {
    for (const user of [...this.#users.values()]) user.onRouteLost();
  }

  send(frame: Frame): void {
    this.seen.push(frame);
    if (frame.kind !== FrameKind.WITNESS) return;
    const checkpoint = this.#answer(fromBinary(WitnessSchema, frame.payload).proof);
    if (checkpoint === undefined) return;
    const payload = toBinary(WitnessedSchema, create(WitnessedSchema, { checkpoint }));
    const user = this.#users.get(callKey(frame.callId));
    user?.onFrame({ ...frame, kind: FrameKind.WITNESSED, payload });
  }
}

async function hostOf(t: TestContext) {
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => ledger.close());
  const dir = tempDir(t);
  const ledger = await openLedger({ dir, signer, origin: 'test/host', fsync: false });
  const routes = new Map<string, FakeRoute>();
  const results: WitnessRequestResult[] = [];
  const logged: string[] = [];
  let proofs = 0;
  const witnesses = new Witnesses({
    devices: {
      route: (_tenant, deviceId) => routes.get(deviceId) ?? new FakeRoute(() => undefined),
    },
    newest: () => ledger.checkpoint(),
    ownCheckpoint: (note) => verifyCheckpoint(note, keys).value,
    prove: (earlier, note) => {
      proofs += 1;
      return proveConsistency(dir, earlier, note);
    },
    onResult: (result) => results.push(result),
    log: { error: (_fields, message) => logged.push(message) },
  });
  return {
    ...{ witnesses, results, logged, routes },
    proofs: () => proofs,
    add(deviceId: string, answer: Answer, options = {}) {
      const route = new FakeRoute(answer, options);
      routes.set(deviceId, route);
      return route;
    },
    async grow(records: number) {
      const body = { version: '1.2.3' };
      for (let i = 0; i < records; i += 1) await ledger.append({ kind: 'host.started', body });
      return ledger.checkpoint();
    },
    ask: () => witnesses.ask([...routes.keys()].map((deviceId) => ({ tenant: 'north', deviceId }))),
  };
}

test('[AUD-04] devices are asked what they keep, and share the proof from there', async (t) => {
  const host = await hostOf(t);
  const first = await host.grow(2);
  const devices = ['a', 'b', 'c'].map((id) => ({ id, ...honest() }));
  for (const { id, answer } of devices) host.add(id, answer);
  await host.ask();
  assert.deepEqual(new Set(devices.map(({ kept }) => kept())), new Set([first]));
  assert.equal(host.proofs(), 0);
  const second = await host.grow(5);
  await host.ask();
  assert.deepEqual(new Set(devices.map(({ kept }) => kept())), new Set([second]));
  assert.equal(host.proofs(), 1);
  assert.deepEqual(new Set(host.results), new Set(['witnessed']));
  assert.match(host.witnesses.status().detail ?? '', /^8 records by 3 devices at /);
  for (const route of host.routes.values()) assert.equal(route.users, 0);
});

test('[AUD-04] a device or relay that does not know the feature is sent nothing', async (t) => {
  const host = await hostOf(t);
  await host.grow(1);
  const old = host.add('old', honest().answer, { features: [] });
  const gone = host.add('gone', honest().answer);
  gone.connection = undefined;
  await host.ask();
  assert.deepEqual([old.seen, gone.seen, host.results], [[], [], []]);
});

test('[AUD-04] a device with a checkpoint of before a rewrite is reported and told so', async (t) => {
  const host = await hostOf(t);
  await host.grow(9);
  const own = verifyCheckpoint(await host.grow(0), keys).value!;
  const rewritten = { ...own, size: 4, root: Buffer.alloc(32, 4) };
  const ahead = { ...own, size: own.size + 7 };
  for (const held of [rewritten, ahead]) {
    const kept = await signCheckpoint(held, signer);
    const told: string[] = [];
    host.add(`device-${held.size}`, (proof) => {
      told.push(proof);
      return kept;
    });
    await host.ask();
    host.routes.clear();
    // The second request has no proof, and the device refuses it.
    const last = parseProof(told.at(-1) ?? '');
    assert.ok(last?.kind === 'consistency' && last.earlierSize === held.size);
    assert.deepEqual([told.length, last.hashes], [2, []]);
  }
  assert.deepEqual(host.results, ['contradicted', 'contradicted']);
  assert.match(host.logged[0] ?? '', /device-4 of north keeps a checkpoint over 4 records that/);
  assert.match(host.logged[1] ?? '', /does not continue: it has 10/);
  assert.equal(host.witnesses.status().status, 'degraded');
});

test('[AUD-04] a device that answers with what this host did not sign accuses nobody', async (t) => {
  const [other, host] = [await hostOf(t), await hostOf(t)];
  await host.grow(3);
  const foreign = (await other.grow(30)).replaceAll('test/host', 'test/other');
  for (const answer of ['', 'garbage', 'x'.repeat(100_000), foreign, await other.grow(1)]) {
    host.add('hostile', () => answer);
    await host.ask();
  }
  assert.deepEqual(new Set(host.results), new Set(['declined']));
  assert.deepEqual([host.logged, host.witnesses.status().status], [[], 'ok']);
});

test('[AUD-04] an answer that does not come ends the exchange, and the relay forgets it', async (t) => {
  const host = await hostOf(t);
  await host.grow(1);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const route = host.add('silent', () => undefined);
  const asked = host.ask();
  while (route.seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(5_000);
  await asked;
  assert.deepEqual(
    route.seen.map(({ kind }) => kind),
    [FrameKind.WITNESS, FrameKind.ACK],
  );
  assert.equal(callKey(route.seen[0]!.callId), callKey(route.seen[1]!.callId));
  t.mock.timers.reset();
  const lost = host.ask();
  await eventually(() => route.users > 0);
  route.lose();
  await lost;
  assert.deepEqual([host.results, route.users], [['silent', 'silent'], 0]);
});

test('[AUD-04] devices that claim many different checkpoints cost a bounded number of proofs', async (t) => {
  const host = await hostOf(t);
  const notes = [await host.grow(0)];
  while (notes.length < 60) notes.push(await host.grow(1));
  await host.grow(1);
  for (const [i, note] of notes.entries()) host.add(`device-${i}`, () => note);
  // The pause after each proof keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  t.after(() => clearInterval(alive));
  await host.ask();
  assert.equal(host.proofs(), 32);
  assert.equal(host.results.filter((result) => result === 'postponed').length, 60 - 32);
});
