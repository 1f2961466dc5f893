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

/** A pod in a process of its own, and one here, behind one Redis. */
async function podsOfTwoProcesses(t: TestContext) {
  const dir = tempDir(t);
  const server = await startRedis({ dir });
  t.after(() => server.stop());
  const shared = { redis: { nodes: [`127.0.0.1:${server.port}`] } };
  const here = await startTestHost(t, { settings: shared });
  const { jwksFile, issuer, audience } = here.issuer;
  writeFileSync(join(dir, 'key.pem'), generateKeyPair().privatePem);
  writeFileSync(join(dir, 'script.yaml'), SCRIPT);
  const config = {
    ...shared,
    rpc: { port: 0, tls: { ...here.tls, caFile: here.tls.certFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer, audience },
    ledger: { dir: join(dir, 'ledger'), key: { file: join(dir, 'key.pem') } },
    providers: { mock: { scriptFile: join(dir, 'script.yaml') } },
    log: { level: 'warn' },
  };
  // JSON is YAML.
  writeFileSync(join(dir, 'host.yaml'), JSON.stringify(config));
  const args = [main, '--config', join(dir, 'host.yaml')];
  const pod = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => pod.kill('SIGKILL'));
  const token = await here.issuer.token();
  const transport = createGrpcTransport({
    ...{ baseUrl: await addressOf(pod), nodeOptions: { ca: here.ca } },
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  const redis = new Redis(server.port);
  t.after(() => redis.disconnect());
  return {
    pod,
    there: createClient(AgentService, transport),
    here: here.client('grpc', token),
    redis,
  };
}

async function addressOf(pod: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: pod.stdout! })) {
    const { event, rpc } = JSON.parse(line);
    if (event === 'ready') return rpc;
  }
  throw new Error('it ended before it was ready');
}

for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
  test(
    `[HOST-06] a turn whose pod got ${signal} ends for its readers with an error, and stays ended`,
    needsRedis(),
    async (t) => {
      const { pod, there, here, redis } = await podsOfTwoProcesses(t);
      const start = { text: 'go', onDisconnect: OnDisconnect.CONTINUE };
      const own = there.chat({ start })[Symbol.asyncIterator]();
      const first = (await own.next()).value?.event;
      const turnId = first?.turnId ?? '';
      const key = `zl:turn:{${turnId}}`;
      await eventually(async () => (await redis.hget(key, 'last')) === '1');
      pod.kill(signal);

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
      assert.equal(await redis.hget(key, 'ended'), 'lost');
      await here.cancelTurn({ turnId });
      if (signal === 'SIGKILL') return;

      // The pod comes back, ends its turn for its own reader, and writes nothing more.
      pod.kill('SIGCONT');
      await there.cancelTurn({ turnId });
      const ending = (await own.next().catch(() => ({ value: undefined }))).value?.event;
      assert.equal(ending?.event.case, 'error');
      await eventually(async () => (await redis.hget(key, 'ended')) === 'lost');
      assert.equal(await redis.hget(key, 'last'), '1');
      assert.equal(await redis.xlen(`${key}:log`), 1);
    },
  );
}
