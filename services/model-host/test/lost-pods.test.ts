import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService, type ChatEvent, OnDisconnect } from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { generateKeyPair } from '@zerolatency/signing';
import { eventually, needsRedis, startRedis, tempDir } from '@zerolatency/testing';
import { Redis } from 'ioredis';
import { startTestHost } from './support/host.ts';
import { errorIdOf } from './support/streams.ts';
import { assertNoGap } from './support/turn-bench.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const SCRIPT = `schema: zerolatency.mock-script/v1
rules:
- reply: [{ text: thinking }, { hang: true }]`;

/** Pods in processes of their own, and one here, behind one Redis. */
async function pods(t: TestContext) {
  const dir = tempDir(t);
  const server = await startRedis({ dir });
  t.after(() => server.stop());
  const shared = { redis: { nodes: [`127.0.0.1:${server.port}`] } };
  const here = await startTestHost(t, { settings: shared });
  const { jwksFile, issuer, audience } = here.issuer;
  const { certFile, keyFile, caFile } = await here.authority.server();
  writeFileSync(join(dir, 'key.pem'), generateKeyPair().privatePem);
  writeFileSync(join(dir, 'script.yaml'), SCRIPT);
  const config = {
    ...shared,
    rpc: { port: 0, tls: { certFile, keyFile, caFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer, audience },
    ledger: { dir: '', key: { file: join(dir, 'key.pem') } },
    providers: { mock: { scriptFile: join(dir, 'script.yaml') } },
    log: { level: 'warn' },
  };
  const token = await here.issuer.token();
  const start = async (name: string) => {
    const file = join(dir, `${name}.yaml`);
    const ledger = { ...config.ledger, dir: join(dir, name) };
    // JSON is YAML.
    writeFileSync(file, JSON.stringify({ ...config, ledger }));
    const pod = spawn(process.execPath, [main, '--config', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => pod.kill('SIGKILL'));
    const transport = createGrpcTransport({
      baseUrl: await addressOf(pod),
      nodeOptions: { ca: here.ca },
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${token}`);
          return next(request);
        },
      ],
    });
    return { pod, client: createClient(AgentService, transport) };
  };
  const redis = new Redis(server.port);
  t.after(() => redis.disconnect());
  return { start, here: here.client('grpc', token), redis };
}

async function addressOf(pod: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: pod.stdout! })) {
    const { event, rpc } = JSON.parse(line);
    if (event === 'ready') return rpc;
  }
  throw new Error('it ended before it was ready');
}

const keyOf = (turnId: string) => `zl:turn:{${turnId}}`;

test(
  '[HOST-06] a turn whose pod was killed or hangs ends for its readers with an error, for good',
  needsRedis(),
  async (t) => {
    const { start, here, redis } = await pods(t);
    const begin = async (signal: 'SIGKILL' | 'SIGSTOP') => {
      const { pod, client } = await start(signal);
      const asked = { start: { text: 'go', onDisconnect: OnDisconnect.CONTINUE } };
      const own = client.chat(asked)[Symbol.asyncIterator]();
      const { turnId = '' } = (await own.next()).value?.event ?? {};
      await eventually(async () => (await redis.hget(keyOf(turnId), 'last')) === '1');
      pod.kill(signal);
      return { pod, client, own, turnId };
    };
    const [killed, stopped] = await Promise.all([begin('SIGKILL'), begin('SIGSTOP')]);

    const endsAsLost = async ({ turnId }: { readonly turnId: string }) => {
      const events: ChatEvent[] = [];
      const read = async () => {
        for await (const { event } of here.resumeTurn({ resume: { turnId } })) {
          if (event !== undefined) events.push(event);
        }
      };
      await assert.rejects(read(), (reason) => {
        const { id, retryable } = fromConnectError(reason);
        return id === 'turn.lost' && !retryable;
      });
      assert.equal(errorIdOf(events), 'turn.lost');
      assertNoGap(events);
      assert.equal(await redis.hget(keyOf(turnId), 'ended'), 'lost');
      await here.cancelTurn({ turnId });
    };
    await Promise.all([killed, stopped].map(endsAsLost));

    // The pod that comes back ends its turn for its own reader, and writes nothing more.
    const { pod, client, own, turnId } = stopped;
    pod.kill('SIGCONT');
    await client.cancelTurn({ turnId });
    const ending = await own.next().catch(() => undefined);
    assert.equal(ending?.value?.event?.event.case ?? 'error', 'error');
    assert.equal(await redis.hget(keyOf(turnId), 'ended'), 'lost');
    assert.equal(await redis.hget(keyOf(turnId), 'last'), '1');
    assert.equal(await redis.xlen(`${keyOf(turnId)}:log`), 1);
  },
);
