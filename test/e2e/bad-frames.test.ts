import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { FrameKind, isCanonical } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import {
  eventually,
  frameBytes,
  makeAuthority,
  makeKey,
  type TestDevice,
  tempDir,
} from '@zerolatency/testing';
import { LOCAL } from '../../services/cli/src/installation/local.ts';
import { addEffectsServer, configOf, editConfig, traceOf } from './effects.ts';
import { FrameProxy, otherEncoding } from './frame-proxy.ts';
import { RelayPeers } from './relay-peers.ts';
import { callTool, runTurn, startSystem } from './system.ts';

const MEBIBYTE = 2 ** 20;

/** Messages that no peer may send, and the relay's close codes. */
const garbage: Record<string, [message: Uint8Array | string, code: number, reason: string]> = {
  'random bytes': [randomBytes(300), 4400, 'frame.malformed'],
  'nothing at all': [new Uint8Array(), 4400, 'frame.malformed'],
  'half a frame': [frame(FrameKind.DATA).subarray(0, 30), 4400, 'frame.malformed'],
  'a call id of two bytes': [Buffer.from('0d300000002202abcd', 'hex'), 4400, 'frame.malformed'],
  'a frame that is not its to send': [frame(FrameKind.WELCOME), 4400, 'frame.malformed'],
  text: ['{"hello":"relay"}', 1003, 'frame.malformed'],
  'more than a frame may have': [Buffer.alloc(1.5 * MEBIBYTE), 1009, 'frame.too_large'],
};

test('frames and credentials that a relay must refuse', { timeout: 300_000 }, async (t) => {
  let proxy!: FrameProxy;
  const system = await startSystem(t, {
    async prepare(layout) {
      await addEffectsServer(layout);
      const { relay } = await configOf(layout.device.config);
      proxy = await FrameProxy.before(relay.urls[0], layout);
      const backoff = { minBackoff: '20ms', maxBackoff: '100ms' };
      await editConfig(layout.device.config, {
        relay: { ...relay, ...backoff, urls: [proxy.url] },
      });
    },
  });
  t.after(() => proxy.close());
  const peers = await RelayPeers.of(t, system);
  // A second device, which must not be affected.
  const witness = await peers.live('witness');

  await t.test('[RLY-01] a frame that is valid and not canonical means the same', async () => {
    let rewritten = 0;
    proxy.rewrite = (bytes) => {
      assert.ok(isCanonical(bytes));
      const other = otherEncoding(bytes);
      assert.ok(!isCanonical(other));
      rewritten += 1;
      return other;
    };
    const turn = await runTurn(await system.chat(), 'act loose 0 300000');
    assert.equal(turn.calls[0]?.outcome, 'DONE', turn.calls[0]?.errorMessage);
    assert.equal(JSON.parse(turn.calls[0]?.resultJson ?? '').content[0].text.length, 300_000);
    assert.ok(rewritten >= 3, 'call, data and outcome came another way');
    proxy.rewrite = (bytes) => bytes;
  });

  for (const [what, [message, code, reason]] of Object.entries(garbage)) {
    await t.test(
      `[RLY-01] [RLY-05] ${what} in the middle of a call costs the socket, and not the call`,
      async () => {
        const key = what.replaceAll(' ', '');
        const turn = runTurn(await system.chat(), `act ${key} 300 10`);
        await eventually(() => traceOf(system.layout, key).includes('began'));
        assert.deepEqual(await proxy.inject(message), { code, reason });
        const [call] = (await turn).calls;
        assert.equal(call?.outcome, 'DONE', call?.errorMessage);
        assert.deepEqual(traceOf(system.layout, key), ['began', 'ended']);
      },
    );
  }

  await t.test('[RLY-01] unknown frame kinds in the middle of a call change nothing', async () => {
    const { accepted } = proxy;
    const turn = runTurn(await system.chat(), 'act newer 300 10');
    await eventually(() => traceOf(system.layout, 'newer').includes('began'));
    for (const kind of [15, 31, 47, 63, 4711]) proxy.whisper(frame(kind));
    const [call] = (await turn).calls;
    assert.equal(call?.outcome, 'DONE', call?.errorMessage);
    assert.equal(proxy.accepted, accepted);
  });

  await t.test(
    '[RLY-01] an unauthenticated peer that sends one is closed with the reason',
    async () => {
      const early = {
        // Before its hello a device has sent no catalog.
        'an unknown kind': [frame(4711), 4400, 'frame.malformed'],
        // More than a hello may have.
        'more than a frame may have': [Buffer.alloc(1.5 * MEBIBYTE), 4429, 'limit.exceeded'],
      } as const;
      for (const [what, [message, code, reason]] of Object.entries({ ...garbage, ...early })) {
        const client = peers.device();
        await client.challenge();
        client.native.send(message);
        assert.deepEqual(await client.end(), { code, reason }, what);
      }
    },
  );

  await t.test(
    '[RLY-04] a host that sends one loses its link, and no other host does',
    async () => {
      for (const [what, [message, code, reason]] of Object.entries(garbage)) {
        const link = peers.link(await peers.token());
        await link.opened();
        await link.open(LOCAL.tenant, 'witness');
        link.native.send(message);
        assert.deepEqual(await link.end(), { code, reason }, what);
      }
      assert.equal((await callTool(system, 'fs.read', { path: 'welcome.txt' })).outcome, 'DONE');
    },
  );

  await t.test('[RLY-04] a link without a certificate of the installation is refused', async () => {
    const foreign = await makeAuthority(tempDir(t));
    const pair = await foreign.client('model-host');
    const audience = 'relay-1';
    const refused: Record<string, [token: string, status: number]> = {
      'no token': ['', 401],
      nonsense: ['nonsense', 401],
      'another authority': [await signPeerToken(pair, { audience, nowMs: Date.now() }), 401],
      'another relay': [await peers.token({ audience: 'relay-2' }), 401],
      'an old token': [await peers.token({ nowMs: Date.now() - 3_600_000 }), 401],
      'a name that may not': [await peers.token({ name: 'operator' }), 403],
    };
    for (const [what, [token, status]] of Object.entries(refused)) {
      assert.equal(await peers.refusalOf(token), status, what);
    }
  });

  await t.test('[BRG-01] a forged credential or proof is refused as such', async () => {
    const good = await peers.enrol({ deviceId: 'forged' });
    const refused: Record<string, TestDevice> = {
      'a credential of another authority': await peers.enrol({ key: makeKey().privateKey }),
      'a credential that has expired': await peers.enrol({ expiresInS: -3600 }),
      'a proof with another key': { ...good, proof: (await peers.enrol({})).proof },
      'a credential of another issuer': await peers.enrol({ issuer: 'https://me.invalid' }),
    };
    for (const [what, device] of Object.entries(refused)) {
      const client = peers.device();
      await client.prove(device);
      const ended = await client.end();
      assert.deepEqual(ended, { code: 4401, reason: 'device.credential_invalid' }, what);
    }
    const replayed = peers.device();
    const { nonce, relayId } = await peers.device().challenge();
    await replayed.challenge();
    replayed.sendHello({
      credential: good.credential,
      proof: await good.proof({ nonce, relayId }),
    });
    assert.equal((await replayed.end()).code, 4401);
  });

  await t.test('[RLY-01] the relay and the other device survive all of it', async () => {
    const { relay } = system.settings;
    const metrics = await (await fetch(`${relay.adminUrl}/metrics`)).text();
    assert.match(metrics, /^zl_relay_frames_refused_total\{[^}]*frame\.malformed[^}]*\} [1-9]/m);
    assert.match(metrics, /^zl_relay_frames_refused_total\{[^}]*frame\.too_large[^}]*\} [1-9]/m);
    assert.equal(witness.closed, undefined);
    const link = peers.link(await peers.token());
    await link.opened();
    assert.equal((await link.open(LOCAL.tenant, 'witness')).epoch, witness.epoch);
    await system.healthy();
  });
});

function frame(kind: number): Uint8Array {
  const payload = randomBytes(8);
  return frameBytes({ kind, payload });
}
