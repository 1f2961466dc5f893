import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type ConnectProxy,
  connectProxy,
  eventually,
  type InspectingProxy,
  inspectingProxy,
} from '@zerolatency/testing';
import { probeAll } from '../../services/cli/src/commands/status.ts';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { addEffectsServer, configOf, editConfig, traceOf } from './effects.ts';
import { callIn, type System, startSystem } from './system.ts';

const SERVICES = ['tool-relay', 'model-host'] as const;
const CREDENTIALS = 'device:s3cret-of-the-proxy';
const SLOW = { timeoutMs: 60_000, everyMs: 100 };

interface Behind {
  readonly system: System;
  readonly inspecting: InspectingProxy;
}

/** A system without its bridge, which is to reach the relay through a proxy that inspects TLS. */
async function behindProxy(
  t: TestContext,
  relay: (layout: Layout) => Record<string, unknown> = () => ({}),
): Promise<Behind> {
  let inspecting: InspectingProxy | undefined;
  const prepare = async (layout: Layout) => {
    await addEffectsServer(layout);
    const files = layout.tls('tool-relay');
    const [cert = '', key = '', ca = ''] = await Promise.all(
      [files.cert, files.key, layout.authority.cert].map((file) => readFile(file, 'utf8')),
    );
    const { sockets } = await configOf(layout.relay.config);
    const proxy = await inspectingProxy(sockets.port, { cert, key, ca });
    inspecting = proxy;
    t.after(() => proxy.close());
    const own = (await configOf(layout.device.config)).relay;
    const urls = [`wss://localhost:${proxy.port}/v1/device`];
    await editConfig(layout.device.config, {
      relay: { ...own, ...relay(layout), urls, retryWebSocket: '1s', maxBackoff: '1s' },
    });
  };
  const system = await startSystem(t, { prepare, services: SERVICES });
  return { system, inspecting: inspecting! };
}

async function bridgeOf({ settings }: System) {
  const probes = await probeAll(settings);
  return probes.find(({ name }) => name === 'device-bridge')?.report;
}

async function liveOver(system: System, transport: string): Promise<void> {
  await eventually(async () => {
    const { state, transport: own } = (await bridgeOf(system)) ?? {};
    return state === 'live' && own === transport;
  }, SLOW);
}

const act = (nth: number) => ({ key: `call${nth}`, waitMs: '20', size: '100' });

test('[BRG-08] a bridge whose WebSockets are blocked serves calls over an HTTP stream, and moves back without losing one', {
  timeout: 300_000,
}, async (t) => {
  const { system, inspecting } = await behindProxy(t);
  await system.start('device-bridge');
  await liveOver(system, 'http_stream');
  const session = await system.chat();
  const first = await callIn(session, 'effects.act', act(0));
  assert.equal(first.outcome, 'DONE', first.errorMessage);
  const { stdout } = await system.zl('devices', '--json');
  assert.match(stdout, /HTTP_STREAM/);
  inspecting.blocks = false;
  const outcomes: string[] = [];
  let isBack = false;
  const back = liveOver(system, 'websocket').then(() => {
    isBack = true;
  });
  for (let nth = 1; !isBack || nth <= 20; nth += 1) {
    const { outcome, errorId } = await callIn(session, 'effects.act', act(nth));
    outcomes.push(outcome === 'DONE' ? outcome : errorId);
  }
  await back;
  assert.deepEqual(
    outcomes.filter((outcome) => outcome !== 'DONE'),
    [],
  );
  // Each began once.
  for (let nth = 0; nth <= outcomes.length; nth += 1) {
    const trace = traceOf(system.layout, `call${nth}`);
    assert.equal(trace.filter((step) => step === 'began').length, 1);
  }
});

test('[BRG-08] both transports go through a proxy, with the credentials that it wants', {
  timeout: 300_000,
}, async (t) => {
  const proxy: ConnectProxy = await connectProxy(CREDENTIALS);
  t.after(() => proxy.close());
  const fileOf = ({ home }: Layout) => join(home, 'proxy-credentials');
  const { system, inspecting } = await behindProxy(t, (layout) => ({
    proxy: { url: proxy.url, credentialsFile: fileOf(layout) },
  }));
  const credentialsFile = fileOf(system.layout);
  await writeFile(credentialsFile, 'device:wrong\n', { mode: 0o600 });
  await system.start('device-bridge').catch(() => {});
  await eventually(() => proxy.counts.refused >= 3, SLOW);
  assert.deepEqual([proxy.counts.opened, inspecting.passed.size], [0, 0]);
  const lost = await eventually(async () => {
    const report = await bridgeOf(system);
    return report?.state === 'lost' ? report : undefined;
  }, SLOW);
  assert.match(String(lost.why), /proxy\.refused: .*127\.0\.0\.1.*407.*credentialsFile/);
  await writeFile(credentialsFile, `${CREDENTIALS}\n`);
  await liveOver(system, 'http_stream');
  const session = await system.chat();
  assert.equal((await callIn(session, 'effects.act', act(1))).outcome, 'DONE');
  inspecting.blocks = false;
  await liveOver(system, 'websocket');
  assert.equal((await callIn(session, 'effects.act', act(2))).outcome, 'DONE');
  const log = await system.log('device-bridge');
  for (const secret of ['s3cret', 'device:wrong', Buffer.from(CREDENTIALS).toString('base64')]) {
    assert.ok(!log.includes(secret), secret);
  }
});
