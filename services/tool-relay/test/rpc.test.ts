import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Health, HealthCheckResponse_ServingStatus as Status } from '@zerolatency/proto/health';
import { RelayService } from '@zerolatency/proto/relay';
import { fromConnectError } from '@zerolatency/service/rpc';
import { clientTlsOptions } from '@zerolatency/service/tls';
import { eventually, refusalsOf } from '@zerolatency/testing';
import { RELAY_ID, relayWorld } from './relay-world.ts';

const idOf = async (call: Promise<unknown>) =>
  fromConnectError(await call.catch((e: unknown) => e)).id;

test('[RLY-04] Locate returns the link address and the epoch of the lease', async (t) => {
  const { clients, relay } = await relayWorld(t);
  const { client } = await clients.device('laptop');
  const rpc = await clients.rpc(RelayService);
  const found = await rpc.locate({ tenant: 'north', deviceId: 'laptop' });
  assert.equal(found.relayId, RELAY_ID);
  assert.equal(found.linkUrl, `${relay.socketUrl}/v1/link`);
  assert.equal(Number(found.epoch), client.epoch);
});

test('[RLY-04] Locate reports a device as offline that left, never existed or belongs to another tenant', async (t) => {
  const { clients } = await relayWorld(t);
  const { client } = await clients.device('laptop');
  const rpc = await clients.rpc(RelayService);
  const locate = (tenant: string, deviceId: string) => idOf(rpc.locate({ tenant, deviceId }));
  assert.equal(await locate('north', 'ghost'), 'device.offline');
  assert.equal(await locate('south', 'laptop'), 'device.offline');
  client.native.terminate();
  await eventually(async () => (await locate('north', 'laptop')) === 'device.offline');
  assert.equal(await locate('', 'laptop'), 'request.invalid');
  assert.equal(await locate('north', 'x'.repeat(200)), 'request.invalid');
});

test('ListDevices pages through the devices of one tenant in order', async (t) => {
  const { clients } = await relayWorld(t);
  for (const id of ['c', 'a', 'e', 'b', 'd']) await clients.device(id);
  await clients.device('z', 'south');
  const rpc = await clients.rpc(RelayService, 'model-host');
  const found: string[] = [];
  let pageToken = '';
  do {
    const page = await rpc.listDevices({ tenant: 'north', pageSize: 2, pageToken });
    assert.ok(page.devices.length <= 2);
    found.push(...page.devices.map(({ deviceId }) => deviceId));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.deepEqual(found, ['a', 'b', 'c', 'd', 'e']);
  const { devices } = await rpc.listDevices({ tenant: 'north' });
  assert.equal(devices[0]?.bridgeVersion, '0.1.0');
  assert.equal(devices[0]?.relayId, RELAY_ID);
  assert.ok(Math.abs(timestampMs(devices[0]!.connectedAt!) - Date.now()) < 60_000);
  assert.deepEqual((await rpc.listDevices({ tenant: 'nobody' })).devices, []);
});

test('ListDevices refuses too large a page and an invalid page token', async (t) => {
  const { clients } = await relayWorld(t);
  const rpc = await clients.rpc(RelayService);
  for (const request of [
    { tenant: 'north', pageSize: 1001 },
    { tenant: 'north', pageToken: '!' },
    { tenant: '' },
  ]) {
    assert.equal(await idOf(rpc.listDevices(request)), 'request.invalid');
  }
});

test('[OPS-05] an RPC needs a client certificate of the authority with an allowed name', async (t) => {
  const { clients, relay, authority } = await relayWorld(t);
  const stranger = await clients.rpc(RelayService, 'somebody');
  const request = { tenant: 'north', deviceId: 'laptop' };
  assert.equal(await idOf(stranger.locate(request)), 'identity.forbidden');
  // With TLS 1.3 a client learns of a missing certificate on its first read.
  const { port } = new URL(relay.rpcUrl);
  const bare = connectTls({ port: Number(port), host: 'localhost', ca: authority.ca });
  const [error] = await once(bare.resume(), 'error');
  assert.match(String(error), /certificate required|ECONNRESET|handshake/i);
});

test('refuses a request that is too large', async (t) => {
  const { clients } = await relayWorld(t);
  const rpc = await clients.rpc(RelayService);
  const deviceId = 'x'.repeat(100_000);
  assert.equal(await idOf(rpc.locate({ tenant: 'north', deviceId })), 'request.too_large');
});

test('[HOST-14] RPCs of the relay refuse whatever they cannot read with our detail', async (t) => {
  const { authority, relay, metrics } = await relayWorld(t);
  const tls = clientTlsOptions(await authority.client('model-host'));
  const session = connectHttp2(relay.rpcUrl, tls);
  t.after(() => session.destroy());
  for (const method of [
    'zerolatency.relay.v1.RelayService/Locate',
    'zerolatency.relay.v1.RelayService/ListDevices',
    'grpc.health.v1.Health/Check',
  ]) {
    const path = `/${method}`;
    const { expected, actual } = await refusalsOf(session, { path, maxBytes: 16 * 1024 });
    assert.deepEqual(actual, expected, method);
    const counted = `zl_rpc_requests_total{method="${method}",error_id="request.too_large"`;
    assert.ok((await metrics()).includes(counted), `${method} is not counted`);
  }
});

test('[HOST-13] health checks and health watches follow the lifecycle', async (t) => {
  const { clients, lifecycle } = await relayWorld(t, { settings: { 'drain.closeAfter': '1s' } });
  const health = await clients.rpc(Health);
  const { status } = await health.check({ service: RelayService.typeName });
  assert.equal(status, Status.SERVING);
  await assert.rejects(health.check({ service: 'nothing' }), /unknown service/);
  assert.equal(await idOf(health.check({ service: 'nothing' })), 'request.not_found');
  const seen: Status[] = [];
  const watching = (async () => {
    for await (const update of health.watch({ service: '' })) seen.push(update.status);
  })().catch(() => {});
  await eventually(() => seen.length === 1);
  void lifecycle.shutdown({ reason: 'test', deadlineMs: 3000 });
  await eventually(() => seen.length === 2);
  assert.deepEqual(seen, [Status.SERVING, Status.NOT_SERVING]);
  await watching;
});

test('[OBS-02] counts forwarded frames and open sockets, links and handles', async (t) => {
  const { clients, metrics } = await relayWorld(t);
  await clients.device('laptop');
  const host = await clients.host();
  await host.open('north', 'laptop');
  await (await clients.rpc(RelayService)).listDevices({ tenant: 'north' });
  const text = await metrics();
  for (const [name, value] of Object.entries({
    zl_relay_device_sockets_open: 1,
    zl_relay_devices_live: 1,
    zl_relay_links_open: 1,
    zl_relay_handles_open: 1,
  })) {
    assert.match(text, new RegExp(`${name}\\{service="tool-relay"\\} ${value}`));
  }
  assert.match(text, /zl_build_info\{version=".+",service="tool-relay"\} 1/);
  assert.match(text, /zl_certificate_expires_timestamp_seconds\{service="tool-relay"\} \d{10}/);
  assert.match(
    text,
    /zl_rpc_requests_total\{method="zerolatency.relay.v1.RelayService\/ListDevices",error_id="none".*\} 1/,
  );
});

test('counts refused callers', async (t) => {
  const { clients, metrics } = await relayWorld(t);
  const stranger = await clients.rpc(RelayService, 'somebody');
  await assert.rejects(stranger.listDevices({ tenant: 'north' }));
  assert.match(await metrics(), /method="[\w.]+\/ListDevices",error_id="identity.forbidden".*\} 1/);
});
