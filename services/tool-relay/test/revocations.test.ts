import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RelayService } from '@zerolatency/proto/relay';
import { revocationFiles, revoked } from '@zerolatency/revocations/testing';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, tempDir } from '@zerolatency/testing';
import { relayWorld } from './relay-world.ts';

const REVOKED = { code: 4403, reason: 'device.revoked' };

async function worldWithList(t: TestContext) {
  const list = revocationFiles(tempDir(t));
  await list.publish();
  const world = await relayWorld(t, { settings: { revocations: { ...list.files } } });
  const componentOf = async () => {
    const report = await fetch(`${world.relay.adminUrl}/health`);
    const { components } = (await report.json()) as { components: { name: string }[] };
    return components.find(({ name }) => name === 'revocations');
  };
  return { ...world, list, componentOf };
}

test('[BRG-04] a revocation closes the live socket, its hosts hear of it, and the device may enrol again', async (t) => {
  const { clients, enrolment, list, metrics, logLines } = await worldWithList(t);
  const [stolen, other] = [await clients.device('stolen'), await clients.device('other')];
  const host = await clients.host();
  const { handle } = await host.open('north', 'stolen');
  await list.publish(revoked('stolen'));
  assert.deepEqual(await stolen.client.end(), REVOKED);
  assert.equal(await host.lost(handle), 'REVOKED');
  assert.equal(other.client.closed, undefined);

  const again = clients.dialDevice();
  await again.prove(stolen.identity);
  assert.deepEqual(await again.end(), REVOKED);
  assert.ok(logLines.some((line) => line.includes('stolen of north was revoked at')));
  const enrolled = await enrolment.device({ deviceId: 'stolen', nowMs: Date.now() + 1000 });
  await clients.live(enrolled);
  const figures = await metrics();
  assert.match(figures, /zl_relay_sessions_total\{[^}]*reason="revoked"[^}]*\} 2/);
  assert.match(figures, /zl_relay_route_lost_total\{[^}]*reason="revoked"[^}]*\} 1/);
  assert.match(figures, /zl_revocations_version\S* 2/);
});

test('[BRG-04] whoever looks for a revoked device is told so, until it has enrolled again', async (t) => {
  const { clients, list, enrolment } = await worldWithList(t);
  const { client } = await clients.device('laptop');
  const rpc = await clients.rpc(RelayService);
  const locate = (deviceId: string, tenant = 'north') =>
    rpc.locate({ tenant, deviceId }).then(
      () => 'here',
      (reason: unknown) => fromConnectError(reason).id,
    );
  const entry = revoked('laptop');
  await list.publish(entry);
  await client.end();
  await eventually(async () => (await locate('laptop')) === 'device.revoked');
  assert.equal(await locate('laptop', 'south'), 'device.offline');
  assert.equal(await locate('desktop'), 'device.offline');
  const again = await clients.live(
    await enrolment.device({ deviceId: 'laptop', nowMs: Date.now() + 1000 }),
  );
  assert.equal(await locate('laptop'), 'here');
  await list.publish({ ...entry, enrolledAt: new Date().toISOString() });
  again.native.terminate();
  await eventually(async () => (await locate('laptop')) === 'device.offline', {
    timeoutMs: 60_000,
  });
});

test('[BRG-04] a bad list changes nothing, and is counted, logged and reported', async (t) => {
  const { clients, list, metrics, logLines, componentOf } = await worldWithList(t);
  const { client } = await clients.device('laptop');
  list.put('garbage');
  await eventually(async () => /refused_total\{[^}]*"malformed"[^}]*\} 1/.test(await metrics()));
  assert.ok(logLines.some((line) => line.includes('"error_id":"revocations.invalid"')));
  const component = await componentOf();
  assert.equal(JSON.stringify(component).includes('"degraded"'), true);
  assert.equal(client.closed, undefined);
  await clients.device('desktop');
});

test('[BRG-04] a relay without a valid list admits no device and is not ready until it has one', async (t) => {
  const list = revocationFiles(tempDir(t));
  const settings = { revocations: { ...list.files } };
  const { clients, enrolment, relay } = await relayWorld(t, { settings });
  const identity = await enrolment.device({ deviceId: 'laptop' });
  const early = clients.dialDevice();
  await early.prove(identity);
  assert.deepEqual(await early.end(), { code: 1013, reason: 'revocations.unavailable' });
  const ready = async () => (await fetch(`${relay.adminUrl}/readyz`)).status;
  assert.equal(await ready(), 503);
  await list.publish();
  await eventually(async () => (await ready()) === 200);
  await clients.live(identity);
});
