import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ZlError } from '@zerolatency/errors';
import { Containment, ServerState } from '@zerolatency/proto/bridge';
import { type CreateCodeRequest, RegistrarService } from '@zerolatency/proto/registrar';
import { RelayService, Transport } from '@zerolatency/proto/relay';
import { toConnectError } from '@zerolatency/service/rpc';
import { type Device, serveRelay } from '../../test/fake-relay.ts';
import { serveFake } from '../../test/fake-server.ts';
import { type Installed, installed } from '../../test/installed.ts';
import { readSettings } from '../settings.ts';

function device(
  deviceId: string,
  description = 'Reads a file.',
  connectedAt: Device['connectedAt'] = timestampFromMs(Date.UTC(2026, 0, 2)),
): Device {
  const tools = [{ name: 'read', description, inputSchemaJson: '{}' }];
  return {
    deviceId,
    relayId: 'relay-1',
    epoch: 3n,
    connectedAt,
    bridgeVersion: '0.1.0',
    catalog: { servers: [{ name: 'fs', version: '1.4.2', state: ServerState.READY, tools }] },
  };
}

test('fetches every page for the tenant and lists each device with its tools', async (t) => {
  const made = await installed(t);
  const asked = await serveRelay(t, made, [device('d-1'), device('d-2')]);
  const { status, stdout } = await made.zl(['devices']);
  assert.equal(status, 0);
  assert.equal(
    stdout,
    ['d-1', 'd-2']
      .map(
        (id) =>
          `${id}  bridge 0.1.0  on relay-1, epoch 3, since 2026-01-02T00:00:00.000Z\n  fs 1.4.2 (ready)\n    fs.read  Reads a file.\n`,
      )
      .join(''),
  );
  assert.deepEqual(
    asked.map(({ tenant, pageToken }) => [tenant, pageToken]),
    [
      ['local', ''],
      ['local', '1'],
    ],
  );
  const { devices } = JSON.parse((await made.zl(['devices', '--json'])).stdout);
  assert.deepEqual([devices[1].deviceId, devices[1].catalog.servers[0].name], ['d-2', 'fs']);
});

test('[BRG-08] says that a device came over an HTTP stream', async (t) => {
  const made = await installed(t);
  const over = { transport: Transport.HTTP_STREAM };
  await serveRelay(t, made, [device('d-1'), { ...device('d-2'), ...over }]);
  const { stdout } = await made.zl(['devices']);
  const lines = stdout.split('\n').filter((line) => line.startsWith('d-'));
  assert.deepEqual(
    lines.map((line) => line.includes('over an HTTP stream')),
    [false, true],
  );
});

test('asks the next relay of a pool when the first is down', async (t) => {
  const made = await installed(t);
  await serveRelay(t, made, [device('d-1')]);
  const { relay } = await readSettings(made.layout.settings);
  const relays = [{ name: 'relay-2', url: relay.url, adminUrl: relay.adminUrl }];
  await made.point({ relay: { url: 'https://localhost:1' } });
  assert.match((await made.zl(['devices'])).stderr, /relay\.unreachable: https:\/\/localhost:1/);
  const settings = JSON.parse(await readFile(made.layout.settings, 'utf8'));
  const pool = { redis: '127.0.0.1:1', relays };
  await writeFile(made.layout.settings, JSON.stringify({ ...settings, pool }));
  assert.match((await made.zl(['devices'])).stdout, /^d-1 /);
});

test('[BRG-02] lists how each server is contained, where its bridge says so', async (t) => {
  const made = await installed(t);
  const server = { version: '', state: ServerState.READY };
  const servers = [
    { ...server, name: 'fs', containment: Containment.SANDBOX },
    { ...server, name: 'mail', containment: Containment.PROCESS_GROUP, isUnpinned: true },
    { ...server, name: 'old' },
  ];
  await serveRelay(t, made, [{ deviceId: 'd-1', catalog: { servers } }]);
  const [, ...lines] = (await made.zl(['devices'])).stdout.trimEnd().split('\n');
  assert.deepEqual(lines, [
    '  fs (ready, sandbox)',
    '  mail (ready, process group, unpinned)',
    '  old (ready)',
  ]);
});

test('says that no device is connected, with a hint', async (t) => {
  const made = await installed(t);
  await serveRelay(t, made, []);
  assert.match((await made.zl(['devices'])).stdout, /^no device is connected; start a bridge/);
  assert.deepEqual(await made.zl(['devices', '--json']), {
    status: 0,
    stdout: '{"devices":[]}\n',
    stderr: '',
  });
});

test('reports an unreachable relay, and the reason of one that refuses', async (t) => {
  const made = await installed(t);
  await made.point({ relay: { url: 'https://localhost:1' } });
  const gone = await made.zl(['devices']);
  assert.deepEqual([gone.status, gone.stdout], [3, '']);
  assert.match(gone.stderr, /^zl: relay\.unreachable: https:\/\/localhost:1: /);
  const refusing = await serveFake(t, made.layout, {
    name: 'tool-relay',
    routes: (router) =>
      router.service(RelayService, {
        listDevices() {
          throw toConnectError(new ZlError('identity.forbidden', 'not this client'));
        },
      }),
  });
  await made.point({ relay: { url: refusing.url } });
  const refused = await made.zl(['devices']);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^zl: identity\.forbidden: not this client\n/);
});

test('text from a device cannot control the terminal', async (t) => {
  const made = await installed(t);
  const evil = '\u001b[2J\u009b31m\nno device is connected';
  await serveRelay(t, made, [device(evil, evil, { seconds: 2n ** 62n })]);
  const { status, stdout } = await made.zl(['devices']);
  assert.equal(status, 0);
  assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u);
  assert.doesNotMatch(stdout, /^no device/m);
});

/** Returns what it was asked. */
async function serveRegistrar(t: TestContext, made: Installed, revoked: string[] = []) {
  const asked: CreateCodeRequest[] = [];
  const { url } = await serveFake(t, made.layout, {
    name: 'registrar',
    routes: (router) =>
      router.service(RegistrarService, {
        createCode(request) {
          asked.push(request);
          const expiresAt = timestampFromMs(Date.UTC(2026, 0, 2));
          return { code: 'AAAAA-BBBBB', expiresAt, enrolUrl: 'https://registrar.test' };
        },
        revoke({ deviceId }) {
          revoked.push(deviceId);
          return { version: 2n };
        },
      }),
  });
  await made.point({ registrar: { url } });
  return asked;
}

test('[BRG-04] an invitation names the code, its expiry and the two commands', async (t) => {
  const made = await installed(t);
  const asked = await serveRegistrar(t, made);
  const { status, stdout } = await made.zl(['devices', 'invite', '--device', 'laptop']);
  assert.equal(status, 0);
  const caFile = made.layout.authority.cert;
  assert.equal(
    stdout,
    [
      'Code AAAAA-BBBBB, for one device, until 2026-01-02T00:00:00.000Z.',
      'It replaces the device laptop, where there is one.',
      `Copy ${caFile} to the new device as ca.pem, and run there:`,
      '',
      '  ./device-bridge enrol AAAAA-BBBBB --registrar https://registrar.test --ca ca.pem',
      '  ./device-bridge --config zl-device/bridge.yaml',
      '',
    ].join('\n'),
  );
  await made.zl(['devices', 'invite']);
  assert.deepEqual(
    asked.map(({ tenant, deviceId }) => [tenant, deviceId]),
    [
      ['local', 'laptop'],
      ['local', ''],
    ],
  );
});

test('[BRG-04] without a registrar an invitation says what to do', async (t) => {
  const made = await installed(t);
  const away = await made.zl(['devices', 'invite']);
  assert.match(away.stderr, /^zl: registrar\.unreachable: https:.*ECONNREFUSED/);
  assert.equal(away.status, 3);
  const { registrar: _, ...earlier } = JSON.parse(await readFile(made.layout.settings, 'utf8'));
  await writeFile(made.layout.settings, JSON.stringify(earlier));
  const none = await made.zl(['devices', 'invite']);
  assert.match(none.stderr, /names no registrar; "zl up" adds one/);
  assert.equal(none.status, 1);
});

test('[BRG-04] a mistyped device is not revoked, unless --offline says that it is not connected', async (t) => {
  const made = await installed(t);
  const revoked: string[] = [];
  await serveRegistrar(t, made, revoked);
  await serveRelay(t, made, [device('desktop'), device('laptop-1'), device('evil\u001b[2J')]);
  const revoke = (...args: string[]) => made.zl(['devices', 'revoke', ...args]);
  const mistyped = await revoke('laptp-1');
  assert.equal(mistyped.status, 1);
  assert.match(
    mistyped.stderr,
    /^zl: device\.unknown: no device laptp-1 is connected\. Did you mean "laptop-1"\? .*--offline/,
  );
  const hostile = await revoke('evil');
  assert.doesNotMatch(hostile.stderr, /[^\P{Cc}\n]/u);
  assert.deepEqual(revoked, []);
  assert.equal((await revoke('laptop-1')).status, 0);
  assert.equal((await revoke('in-a-taxi', '--offline')).status, 0);
  await made.point({ relay: { url: 'https://localhost:1' } });
  const unchecked = await revoke('desktop');
  assert.match(
    unchecked.stderr,
    /^zl: relay\.unreachable: the name cannot be checked: .*--offline/,
  );
  assert.equal((await revoke('desktop', '--offline')).status, 0);
  assert.deepEqual(revoked, ['laptop-1', 'in-a-taxi', 'desktop']);
});
