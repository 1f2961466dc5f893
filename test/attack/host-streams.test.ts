import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from 'node:http2';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { type AttackedHost, startAttackedHost, turnsDuring } from './attacked-host.ts';

const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const STREAM_CHAT = '/zerolatency.agent.v1.AgentService/StreamChat';
const RESOURCE_EXHAUSTED = '8';

/** With room to spare V8 collects late, and memory says nothing of what is held. */
const SMALL_HEAP = { nodeOptions: ['--max-old-space-size=128'] };

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

function linesOf(host: AttackedHost): number {
  return host.log().split('\n').length;
}

async function refused({ statuses }: Swarm, streams: number): Promise<void> {
  const isRefused = () => statuses.get(RESOURCE_EXHAUSTED) === streams;
  await eventually(isRefused, { timeoutMs: 20_000 });
}

for (const shown of ['no token', 'a false token', 'a token that nobody asked for']) {
  test(
    `[HOST-12] strangers with ${shown} hold few streams, however many they open`,
    {
      timeout: TIMEOUT_MS,
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

/** The CPU time of a turn, once the host is warm. */
async function cpuMsOfTurn(host: AttackedHost): Promise<number> {
  const turns = async (count: number) => {
    for (let done = 0; done < count; done++) await turnsDuring(host, Promise.resolve());
  };
  await turns(30);
  const before = host.cpuMs();
  await turns(30);
  return (host.cpuMs() - before) / 30;
}

test('[HOST-12] a user holds so many streams, over all connections, and others are served', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t, SMALL_HEAP);
  const turnMs = await cpuMsOfTurn(host);
  const before = { bytes: host.residentBytes(), cpuMs: host.cpuMs(), lines: linesOf(host) };
  const token = await host.issuer.token({ user: 'greedy' });
  const connections = size({ short: 16, long: 64 });
  const asked = connections * 300;
  const options = { connections, streams: 300, path: STREAM_CHAT, token };
  const attack = await swarm(t, host, options);
  await eventually(() => attack.streams === 100, { timeoutMs: 60_000 });
  const refusalMs = (host.cpuMs() - before.cpuMs) / (asked - 100);
  const grown = (host.residentBytes() - before.bytes) / 1e6;
  const lines = linesOf(host) - before.lines;
  const repeated = swarm(t, host, options).then((next) => eventually(() => next.streams === 0));
  const turns = await turnsDuring(host, repeated);
  assert.equal(await host.metric('zl_host_streams_open'), 100);
  assert.ok((await host.metric('zl_rpc_cut_total', { reason: 'refused' })) > asked / 4);
  assert.ok(refusalMs < turnMs / 5, `${refusalMs} ms for a refusal, ${turnMs} ms for a turn`);
  assert.ok(grown < 250, `${grown} MB for ${asked} streams`);
  assert.ok(lines < 100, `${lines} log lines for ${asked} streams`);
  assert.deepEqual(turns.failures, []);
  for (const session of attack.sessions) session.destroy();
  await eventually(async () => (await host.metric('zl_host_streams_open')) === 0);
  // The places are free again.
  const later = await host.issuer.token({ user: 'greedy', roles: ['later'] });
  const again = { connections: 1, streams: 101, path: STREAM_CHAT, token: later };
  await refused(await swarm(t, host, again), 1);
  const about = { attack: 'streams of one user' };
  figure(t, { ...about, name: 'streams asked for', value: asked, unit: 'streams' });
  const ratio = refusalMs / turnMs;
  figure(t, { ...about, name: 'CPU of a refusal', value: ratio, unit: 'of a turn' });
  figure(t, { ...about, name: 'turns meanwhile, all done', value: turns.done, unit: 'turns' });
  figure(t, { ...about, name: 'memory', value: Math.round(grown), unit: 'MB' });
});

/** How much slower than alone; the attacker has a core, and the host the other. */
const MAX_SLOWER = 50;

test('[HOST-12] turns go on while another process floods the host with streams', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t);
  const turns = size({ short: 10, long: 100 });
  await medianTurnMs(host, turns);
  const aloneMs = await medianTurnMs(host, turns);
  const env = { RPC: host.rpc, CA: host.ca, TOKEN: await host.issuer.token({ user: 'greedy' }) };
  const flood = spawn(process.execPath, [join(import.meta.dirname, 'stream-flood.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  t.after(() => flood.kill('SIGKILL'));
  await once(flood.stdout, 'data');
  // On a busy machine its first connections take a while.
  const isFelt = async () => (await host.metric('zl_rpc_cut_total')) > 0;
  await eventually(isFelt, { timeoutMs: 60_000 });
  const floodedMs = await medianTurnMs(host, turns);
  assert.equal(flood.exitCode, null);
  const slower = floodedMs / aloneMs;
  figure(t, {
    attack: 'streams of one user',
    name: 'a turn, beside one alone',
    value: slower,
    unit: 'times',
  });
  assert.ok(slower < MAX_SLOWER, `${floodedMs} ms beside ${aloneMs} ms`);
});

/** On one connection, one after another. */
async function medianTurnMs(host: AttackedHost, turns: number): Promise<number> {
  const client = host.client();
  const headers = { authorization: `Bearer ${await host.issuer.token({ user: 'honest' })}` };
  const durations: number[] = [];
  while (durations.length < turns) {
    const startedMs = performance.now();
    let last: string | undefined;
    for await (const { event } of client.chat({ start: { text: 'hello' } }, { headers })) {
      last = event?.event.case;
    }
    assert.equal(last, 'assistantDone');
    durations.push(performance.now() - startedMs);
  }
  return durations.sort((a, b) => a - b)[turns >> 1] ?? 0;
}
