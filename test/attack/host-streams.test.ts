import assert from 'node:assert/strict';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from 'node:http2';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { figure, size } from './attack.ts';
import { type AttackedHost, startAttackedHost, turnsDuring } from './attacked-host.ts';

const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const STREAM_CHAT = '/zerolatency.agent.v1.AgentService/StreamChat';
const RESOURCE_EXHAUSTED = '8';

interface Swarm {
  readonly statuses: Map<string, number>;
  readonly sessions: readonly ClientHttp2Session[];
  streams: number;
}

/** Opens so many streams on so many connections, and leaves them open. */
async function swarm(
  t: TestContext,
  host: AttackedHost,
  options: { connections: number; streams: number; path: string; token?: string },
): Promise<Swarm> {
  const { connections, streams, path, token } = options;
  const headers = {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const sessions = Array.from({ length: connections }, () => {
    const session = connectHttp2(host.rpc, { ca: host.ca });
    session.on('error', () => {});
    return session;
  });
  t.after(() => {
    for (const session of sessions) session.destroy();
  });
  const found: Swarm = { statuses: new Map(), sessions, streams: 0 };
  for (const session of sessions) {
    for (let opened = 0; opened < streams; opened++) {
      const stream = session.request(headers);
      found.streams += 1;
      stream.on('error', () => {});
      const count = ({ 'grpc-status': status }: IncomingHttpHeaders) => {
        const key = String(status ?? 'open');
        found.statuses.set(key, (found.statuses.get(key) ?? 0) + 1);
      };
      stream.on('response', count);
      stream.on('trailers', count);
      stream.on('close', () => {
        found.streams -= 1;
      });
      stream.resume();
    }
    await new Promise(setImmediate);
  }
  return found;
}

async function refused({ statuses }: Swarm, streams: number): Promise<void> {
  const isRefused = () => statuses.get(RESOURCE_EXHAUSTED) === streams;
  await eventually(isRefused, { timeoutMs: 20_000 });
}

for (const shown of ['no token', 'a false token', 'a token that nobody asked for']) {
  test(
    `[HOST-12] strangers with ${shown} hold few streams, however many they open`,
    {
      timeout: 120_000,
    },
    (t) => holdFew(t, shown),
  );
}

async function holdFew(t: TestContext, shown: string): Promise<void> {
  const host = await startAttackedHost(t);
  const tokens: Record<string, string> = {
    'a false token': 'false',
    'a token that nobody asked for': await host.issuer.token({ user: 'curious' }),
  };
  const token = tokens[shown];
  await turnsDuring(host, Promise.resolve());
  const before = host.residentBytes();
  const connections = size({ short: 30, long: 100 });
  const opened = connections * 100;
  const allowed = connections * 8;
  const attack = await swarm(t, host, {
    ...{ connections, streams: 100, path: REFLECTION },
    ...(token !== undefined && { token }),
  });
  const turns = await turnsDuring(host, refused(attack, opened - allowed));
  assert.equal(await host.metric('zl_rpc_cut_total', { reason: 'streams' }), opened - allowed);
  const later = await turnsDuring(host, Promise.resolve());
  assert.deepEqual([...turns.failures, ...later.failures], []);
  const grown = (host.residentBytes() - before) / 1e6;
  assert.ok(grown < 250, `${grown} MB for ${allowed} streams`);
  const about = { attack: `streams of strangers with ${shown}` };
  figure(t, { ...about, name: 'streams opened', value: opened, unit: 'streams' });
  figure(t, { ...about, name: 'memory', value: Math.round(grown), unit: 'MB' });
  figure(t, { ...about, name: 'turns meanwhile, all done', value: turns.done, unit: 'turns' });
}

test('[HOST-12] a user holds so many streams, over all connections, and others are served', {
  timeout: 120_000,
}, async (t) => {
  const host = await startAttackedHost(t);
  const before = host.residentBytes();
  const token = await host.issuer.token({ user: 'greedy' });
  const connections = size({ short: 16, long: 64 });
  const attack = await swarm(t, host, { connections, streams: 300, path: STREAM_CHAT, token });
  const turns = await turnsDuring(host, refused(attack, connections * 300 - 100));
  assert.equal(await host.metric('zl_host_streams_open'), 100);
  const grown = (host.residentBytes() - before) / 1e6;
  assert.deepEqual(turns.failures, []);
  for (const session of attack.sessions) session.destroy();
  await eventually(async () => (await host.metric('zl_host_streams_open')) === 0);
  // The places are free again.
  const again = await swarm(t, host, { connections: 1, streams: 101, path: STREAM_CHAT, token });
  await refused(again, 1);
  const about = { attack: 'streams of one user' };
  figure(t, { ...about, name: 'streams asked for', value: connections * 300, unit: 'streams' });
  figure(t, { ...about, name: 'memory', value: Math.round(grown), unit: 'MB' });
  figure(t, { ...about, name: 'turns meanwhile, all done', value: turns.done, unit: 'turns' });
});
