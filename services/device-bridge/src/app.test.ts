import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { signCheckpoint } from '@zerolatency/ledger/checkpoint';
import { SERVER_MANIFEST } from '@zerolatency/manifest';
import { WitnessedSchema, WitnessSchema } from '@zerolatency/proto/witness';
import { signDocument, signerFromPem } from '@zerolatency/signing';
import { eventually, fullDisk, makeAuthority, makeEnrolment, makeKey } from '@zerolatency/testing';
import { makeRig, runRig, startRigBridge } from '../test/bridge-rig.ts';
import type { DeviceRelay } from '../test/device-relay.ts';
import { fixtureSpec, manifestOf } from '../test/manifests.ts';
import { readBridgeConfig } from './config.ts';

const well = { servers: () => [fixtureSpec('well')] };
const slow = { servers: () => [fixtureSpec('is-slow', { effects: { echo: 'none' as const } })] };

test('[BRG-01] a bridge reconnects after a cut with the same journal and a newer lease', async (t) => {
  const { relay } = await runRig(t, well);
  const first = await relay.offering('well.echo');
  relay.cut();
  const second = await eventually(() => (relay.session?.epoch === 2 ? relay.session : undefined));
  assert.deepEqual(second.hello.journalId, first.hello.journalId);
  assert.equal(second.hello.catalog?.servers[0]?.tools[0]?.name, 'echo');
});

test('[BRG-01] the bridge leaves a relay that stops sending', async (t) => {
  const { relay } = await runRig(t, well);
  await relay.live();
  relay.isSilent = true;
  await eventually(() => relay.hellos >= 2);
});

test('[BRG-01] the bridge leaves a draining relay, and running calls go on', async (t) => {
  const { relay, host, bridge } = await runRig(t, slow);
  await relay.offering('is-slow.echo');
  const pending = host.start({ server: 'is-slow', tool: 'echo' });
  await eventually(() => bridge.status().journal.running === 1);
  relay.drain();
  await eventually(() => relay.session?.epoch === 2);
  assert.equal((await pending.answer).status, 'done');
});

test('a relay with a certificate of another authority never receives the credential', async (t) => {
  const rig = await makeRig(t, well);
  const other = await makeAuthority(rig.dir);
  const relay = { ...rig.config.relay, caFile: other.caFile };
  const { bridge } = await startRigBridge(t, rig, { ...rig.config, relay });
  await eventually(() => bridge.status().state === 'lost');
  assert.equal(rig.relay.hellos, 0);
});

test('a refused credential is not retried until its file changes', async (t) => {
  const rig = await makeRig(t, well);
  rig.relay.refusal = { code: 4401, reason: 'device.credential_invalid' };
  const { bridge } = await startRigBridge(t, rig);
  await eventually(() => bridge.status().state === 'refused');
  assert.equal(rig.relay.hellos, 1);
  rig.relay.refusal = undefined;
  writeFileSync(rig.device.credentialFile, `${rig.device.credential}\n`);
  await rig.relay.live();
  assert.equal(rig.relay.hellos, 2);
});

test('a device without a credential or with a wrong key does not start', async (t) => {
  const rig = await makeRig(t, well);
  for (const device of [
    { ...rig.config.device, credentialFile: join(rig.dir, 'none') },
    { ...rig.config.device, credentialFile: rig.device.keyFile },
    { ...rig.config.device, keyFile: rig.device.credentialFile },
  ]) {
    const config = { ...rig.config, device, stateDir: join(rig.dir, 'other') };
    const started = startRigBridge(t, rig, config);
    await assert.rejects(started, { id: 'device.credential_invalid' });
  }
});

test('[BRG-02] an unsigned, altered or older manifest starts nothing', async (t) => {
  const rig = await makeRig(t, well);
  const good = readFileSync(rig.manifestFile, 'utf8');
  const { stop } = await startRigBridge(t, rig);
  await stop();
  const fails = async (manifest: string) => {
    writeFileSync(rig.manifestFile, manifest);
    const { bridge, stop } = await startRigBridge(t, rig);
    const { manifest: held, servers } = bridge.status();
    assert.deepEqual([held.state, servers], ['none', []]);
    assert.match(held.state === 'none' ? held.why : '', /^server manifest refused: /);
    await stop();
  };
  await fails('rubbish');
  await fails(good.replace(/"payload":"..../, '"payload":"AAAA'));
  await fails(
    await signDocument(SERVER_MANIFEST, manifestOf([]), [signerFromPem(makeKey().privatePem)]),
  );
  await fails(await signDocument(SERVER_MANIFEST, manifestOf([]), rig.signers));
  const older = { ...manifestOf([fixtureSpec('well')]), version: 2 };
  writeFileSync(rig.manifestFile, await signDocument(SERVER_MANIFEST, older, rig.signers));
  await (await startRigBridge(t, rig)).stop();
  await fails(good);
});

test('a second bridge cannot use the state directory of the first', async (t) => {
  const rig = await makeRig(t, well);
  const first = await startRigBridge(t, rig);
  await assert.rejects(startRigBridge(t, rig), { message: /another bridge is using/ });
  await first.stop();
  await startRigBridge(t, rig);
});

test('[BRG-05] the control socket returns the status in one line, to this user only', async (t) => {
  const { relay, bridge, config } = await runRig(t, well);
  await relay.offering('well.echo');
  assert.equal(statSync(bridge.controlSocket).mode & 0o777, 0o600);
  assert.equal(statSync(config.stateDir).mode & 0o777, 0o700);
  const said = await text(createConnection(bridge.controlSocket));
  assert.match(said, /^[^\n]+\n$/);
  const status = JSON.parse(said);
  assert.equal(status.state, 'live');
  assert.equal(status.relay, relay.url);
  assert.equal(status.epoch, 1);
  assert.deepEqual(status.device, { id: 'laptop', tenant: 'north' });
  assert.equal(status.servers[0].state, 'ready');
  assert.deepEqual(status.servers[0].tools, ['echo']);
  assert.equal(status.policy.state, 'active');
  assert.equal(status.manifest.manifestId, 'test@1');
  assert.match(status.manifest.digest, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(status.leaving, []);
  assert.match(status.journal.id, /^[0-9a-f]{32}$/);
});

test('[OBS-02] the metrics socket reports what ran, by the names of the contract', async (t) => {
  const { relay, host, config } = await runRig(t, well);
  await relay.offering('well.echo');
  await host.call({ server: 'well', tool: 'echo' });
  await host.call({ server: 'well', tool: 'none' });
  const said = await text(createConnection(join(config.stateDir, 'metrics.sock')));
  assert.match(said, /^zl_bridge_connected\S* 1$/m);
  assert.match(said, /^zl_bridge_calls_total\{[^}]*tool="well.echo"[^}]*outcome="done"[^}]*\} 1$/m);
  assert.match(said, /^zl_bridge_calls_total\{[^}]*tool="other"[^}]*outcome="failed"[^}]*\} 1$/m);
  assert.match(said, /^zl_bridge_journal_write_duration_seconds_count\{[^}]*durable="yes"/m);
  assert.match(said, /^zl_bridge_journal_entries\S* 2$/m);
  assert.match(said, /^zl_bridge_journal_bytes\S* \d+$/m);
  assert.match(said, /^zl_policy_bundle_version\S* 1$/m);
  assert.match(said, /^zl_policy_bundle_expires_seconds\S* \d+/m);
  assert.match(said, /^zl_policy_bundles_refused_total\{reason="signature"[^}]*\} 0$/m);
});

test('[BRG-01] a stopping bridge lets a running call end, and its next start runs those that came late', async (t) => {
  const rig = await runRig(t, slow);
  const { relay, host, bridge, stop } = rig;
  await relay.offering('is-slow.echo');
  const running = host.start({ server: 'is-slow', tool: 'echo' });
  await eventually(() => bridge.status().journal.running === 1);
  const stopped = stop();
  assert.equal(bridge.status().state, 'draining');
  const late = host.start({ server: 'is-slow', tool: 'echo' });
  assert.equal((await running.answer).status, 'done');
  await stopped;
  assert.equal(bridge.status().servers[0]?.state, 'stopped');
  await startRigBridge(t, rig);
  assert.equal((await late.answer).status, 'done');
});

test('a call refused for another journal leaves no trace', async (t) => {
  const rig = await runRig(t, well);
  const session = await rig.relay.offering('well.echo');
  session.hello.journalId = new Uint8Array(16).fill(1);
  const answer = await rig.host.call({ server: 'well', tool: 'echo', timeoutMs: 1000 });
  assert.notEqual(answer.status, 'done');
  const said = await text(createConnection(join(rig.config.stateDir, 'metrics.sock')));
  assert.match(said, /^zl_bridge_calls_refused_total\{[^}]*reason="other_journal"[^}]*\} 1$/m);
});

test('a credential of a new enrolment is used once it replaces the file', async (t) => {
  const rig = await makeRig(t, well);
  rig.relay.refusal = { code: 4401, reason: '' };
  const { bridge } = await startRigBridge(t, rig);
  await eventually(() => bridge.status().state === 'refused');
  const other = await (await makeEnrolment(rig.dir)).device({ deviceId: 'laptop' });
  copyFileSync(other.credentialFile, rig.device.credentialFile);
  await eventually(() => rig.relay.hellos >= 2);
});

test('a bridge does not become another device while it runs', async (t) => {
  const rig = await makeRig(t, well);
  const { bridge } = await startRigBridge(t, rig);
  await rig.relay.live();
  const enrolment = await makeEnrolment(rig.dir);
  const other = await enrolment.device({ deviceId: 'laptop', tenant: 'south' });
  copyFileSync(other.credentialFile, rig.device.credentialFile);
  rig.relay.cut();
  const status = await eventually(() => {
    const now = bridge.status();
    return now.state === 'refused' ? now : undefined;
  });
  assert.match(String('why' in status && status.why), /now names laptop of south: restart/);
  assert.equal(rig.relay.hellos, 1);
});

test('[BRG-01] a bridge starts with a new journal in place of a damaged one', async (t) => {
  const rig = await makeRig(t, well);
  const { stop } = await startRigBridge(t, rig);
  const before = (await rig.relay.offering('well.echo')).hello.journalId;
  await stop();
  writeFileSync(join(rig.config.stateDir, 'calls.journal'), 'x'.repeat(10_000));
  await startRigBridge(t, rig);
  const session = await rig.relay.offering('well.echo');
  assert.notDeepEqual(session.hello.journalId, before);
  assert.equal((await rig.host.call({ server: 'well', tool: 'echo' })).status, 'done');
});

test('[BRG-01] a bridge whose journal is deleted stops, and the call it ran is unknown', async (t) => {
  const rig = await makeRig(t, { servers: () => [fixtureSpec('is-slow')] });
  const { bridge, lifecycle } = await startRigBridge(t, rig);
  await rig.relay.offering('is-slow.echo');
  const running = rig.host.start({ server: 'is-slow', tool: 'echo' });
  await eventually(() => bridge.status().journal.running === 1);
  rmSync(join(rig.config.stateDir, 'calls.journal'));
  await eventually(() => lifecycle.state === 'failed');
  await startRigBridge(t, rig);
  assert.equal((await running.answer).status, 'unknown');
});

test('[BRG-01] no tool runs while the disk is full, and calls go on when there is space', async (t) => {
  const disk = fullDisk(t, { bytes: 2_000_000 });
  if (disk === undefined) {
    t.skip('only root may mount a small file system; adapters/journal tests the journal without');
    return;
  }
  const rig = await runRig(t, { ...well, settings: { stateDir: join(disk.dir, 'state') } });
  await rig.relay.offering('well.echo');
  disk.fill();
  // More than the last block of the journal has room for.
  const args = { text: 'x'.repeat(10_000) };
  const call = rig.host.start({ server: 'well', tool: 'echo', args });
  const { journal } = await eventually(() => {
    const status = rig.bridge.status();
    return 'errorId' in status.journal ? status : undefined;
  });
  assert.deepEqual(
    ['errorId' in journal && journal.errorId, journal.running],
    ['journal.failed', 0],
  );
  disk.empty();
  assert.equal((await call.answer).status, 'done');
  assert.ok(!('errorId' in rig.bridge.status().journal));
});

test('[POL-02] a bridge whose floor was removed accepts no bundle, and says so in its status', async (t) => {
  const rig = await makeRig(t, well);
  const { stop } = await startRigBridge(t, rig);
  await rig.relay.offering('well.echo');
  await stop();
  rmSync(join(rig.config.stateDir, 'policy-floor.json'));
  const { bridge } = await startRigBridge(t, rig);
  const { policy } = bridge.status();
  assert.equal(policy.state, 'none');
  assert.match('why' in policy ? policy.why : '', /is missing, and was there before/);
});

test('[AUD-04] a bridge that was given keys of hosts witnesses, and names the feature', async (t) => {
  const rig = await makeRig(t, well);
  const key = makeKey();
  writeFileSync(join(rig.dir, 'keys', 'host.pem'), key.publicPem);
  const flags = { ...rig.settings, 'witness.hostKeysDir': join(rig.dir, 'keys') };
  const { bridge } = await startRigBridge(t, rig, readBridgeConfig({ env: {}, flags }));
  const { hello, epoch } = await rig.relay.offering('well.echo');
  assert.ok(hello.features.includes('witness'));
  const root = Buffer.alloc(32, 1);
  const checkpoint = { origin: 'test/host', ledgerId: '0'.repeat(32), size: 7, root };
  const note = await signCheckpoint(checkpoint, signerFromPem(key.privatePem));
  const answered = witnessed(rig.relay);
  rig.relay.send(witnessFrame(note, epoch));
  assert.equal(await answered, note);
  assert.deepEqual(
    bridge.status().witness?.ledgers.map(({ records }) => records),
    [7],
  );
  assert.equal((await rig.host.call({ server: 'well', tool: 'echo' })).status, 'done');
});

test('[AUD-04] a bridge without keys of hosts does not name the feature, and calls go on', async (t) => {
  const { relay, host, bridge } = await runRig(t, well);
  const { hello, epoch } = await relay.offering('well.echo');
  assert.equal(hello.features.includes('witness'), false);
  relay.send(witnessFrame('a host that keeps no rules', epoch));
  assert.equal((await host.call({ server: 'well', tool: 'echo' })).status, 'done');
  assert.equal(bridge.status().witness, undefined);
});

function witnessFrame(note: string, epoch: number): Frame {
  const proof = `old 0\n\n${note}`;
  const payload = toBinary(WitnessSchema, create(WitnessSchema, { proof }));
  const callId = randomBytes(16);
  return { kind: FrameKind.WITNESS, flags: 0, device: 0, callId, offset: 0, epoch, payload };
}

function witnessed(relay: DeviceRelay): Promise<string> {
  const { onFrame } = relay;
  return new Promise((resolve) => {
    relay.onFrame = (frame) => {
      onFrame(frame);
      if (frame.kind !== FrameKind.WITNESSED) return;
      resolve(fromBinary(WitnessedSchema, frame.payload).checkpoint);
    };
  });
}
