import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { issueCertificate } from '@zerolatency/identity/authority';
import { eventually } from '@zerolatency/testing';
import { writePrivate, writePublic } from '../../services/cli/src/installation/private-file.ts';
import { addEffectsServer, configOf, traceOf } from './effects.ts';
import { type LogLine, logged, logMark } from './logs.ts';
import { callTool, runTurn, type System, startSystem } from './system.ts';

/** Each attempt is a handshake with every listener. */
const SELDOM = { everyMs: 200 };
const HOSTS = ['localhost', '127.0.0.1', '::1'];

test('certificates replaced in a running system', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, { prepare: addEffectsServer });
  const { layout, settings } = system;
  const { sockets } = await configOf(layout.relay.config);
  const listeners = {
    'model-host': [settings.host.url],
    'tool-relay': [settings.relay.url, `https://localhost:${sockets.port}`],
  } as const;
  type Holder = keyof typeof listeners;

  const serials = (holder: Holder) =>
    Promise.all(listeners[holder].map((url) => serialOf(system, url)));

  async function renew(holder: Holder): Promise<void> {
    const [cert, key] = await Promise.all(
      [layout.authority.cert, layout.authority.key].map((file) => readFile(file, 'utf8')),
    );
    const usage = holder === 'model-host' ? 'both' : 'server';
    const pair = await issueCertificate(
      { cert: cert!, key: key! },
      { name: holder, usage, hosts: HOSTS },
    );
    const files = layout.tls(holder);
    await writePrivate(files.key, pair.key);
    await writePublic(files.cert, pair.cert);
  }

  async function deviceEpoch(): Promise<string> {
    const { stdout } = await system.zl('devices', '--json');
    return JSON.parse(stdout).devices[0].epoch;
  }

  await t.test(
    '[OPS-05] new connections get the new certificate, and open ones go on',
    async () => {
      const before = {
        'model-host': await serials('model-host'),
        'tool-relay': await serials('tool-relay'),
      };
      const epoch = await deviceEpoch();
      const session = await system.chat();
      await runTurn(session, 'hello');
      const turn = runTurn(session, 'act renewed 15000 10');
      await eventually(() => traceOf(layout, 'renewed').includes('began'));
      for (const holder of ['model-host', 'tool-relay'] as const) await renew(holder);
      for (const holder of ['model-host', 'tool-relay'] as const) {
        await eventually(async () => {
          const now = await serials(holder);
          return now.every((serial, index) => serial !== before[holder][index]);
        }, SELDOM);
      }
      // The cancel and its outcome travel over the connections opened before.
      session.cancel();
      const [call] = (await turn).calls;
      assert.equal(call?.outcome, 'CANCELLED', call?.errorMessage);
      assert.deepEqual(traceOf(layout, 'renewed'), ['began', 'stopped']);
      assert.equal((await runTurn(session, 'hello')).ending, 'done');
      assert.equal(await deviceEpoch(), epoch);
    },
  );

  await t.test(
    '[OPS-05] [RLY-04] new streams, links and device sockets work with the new certificates',
    async () => {
      assert.equal((await callTool(system, 'fs.read', { path: 'welcome.txt' })).outcome, 'DONE');
      await system.stop('device-bridge');
      await system.start('device-bridge');
      await system.stop('model-host');
      await system.start('model-host');
      await system.healthy();
      assert.equal((await callTool(system, 'fs.read', { path: 'welcome.txt' })).outcome, 'DONE');
    },
  );

  await t.test('[OPS-05] a mismatched pair is refused, and the previous one stays', async () => {
    for (const holder of ['model-host', 'tool-relay'] as const) {
      const before = await serials(holder);
      const mark = await logMark(system, holder);
      const files = layout.tls(holder);
      const good = readFileSync(files.key, 'utf8');
      await writePrivate(files.key, readFileSync(layout.authority.key, 'utf8'));
      const fits = ({ msg }: LogLine) => `${msg}`.startsWith('certificate not reloaded');
      const { msg } = await logged(system, holder, { fits, mark });
      assert.match(`${msg}`, /is not the key of the certificate/);
      assert.deepEqual(await serials(holder), before);
      await writePrivate(files.key, good);
      await renew(holder);
      await eventually(
        async () => (await serials(holder)).every((each, i) => each !== before[i]),
        SELDOM,
      );
    }
    await system.healthy();
    assert.equal((await callTool(system, 'fs.read', { path: 'welcome.txt' })).outcome, 'DONE');
  });
});

/** The serial number of the certificate that a new connection gets. */
async function serialOf({ layout, settings }: System, url: string): Promise<string> {
  const { hostname: host, port } = new URL(url);
  const files = {
    ca: layout.authority.cert,
    cert: settings.relay.certFile,
    key: settings.relay.keyFile,
  };
  const [ca, cert, key] = await Promise.all(Object.values(files).map((file) => readFile(file)));
  const socket = connect({
    host,
    port: Number(port),
    servername: 'localhost',
    ca,
    cert,
    key,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  try {
    await new Promise((resolve, reject) =>
      socket.once('secureConnect', resolve).once('error', reject),
    );
    return socket.getPeerCertificate().serialNumber;
  } finally {
    socket.destroy();
  }
}
