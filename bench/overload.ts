// Turns that a host completes when it is offered many times what its slots can take. Each refusal says its reason.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { ChatRequestSchema } from '@zerolatency/proto/agent';
import { generateKeyPair } from '@zerolatency/signing';
import { makeAuthority, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { cleanUp, lifetime } from './lifetime.ts';
import { percentile, report } from './report.ts';

const SLOTS = 20;
const CHUNKS = 20;
const CHUNK_MS = 20;
/** What the slots can take in a second, if a turn took no longer than its model. */
const CAPACITY_PER_S = (SLOTS * 1000) / (CHUNKS * CHUNK_MS);
const OVERLOADS = [1, 10, 50] as const;
const ROUNDS = 3;
const ROUND_MS = 3_000;
const TICK_MS = 10;
/** So many that none of them is refused more than the hundred times which are explained. */
const USERS = 1_000;
/** At least 80 % of the turns at 1x, as the time that one takes. */
const GOAL = 1 / 0.8;

const SCRIPT = `schema: zerolatency.mock-script/v1
rules:
- reply: [{ text: { value: 'a word or two. ', chunkChars: 15, delayMs: ${CHUNK_MS}, repeat: ${CHUNKS} } }]
`;

const turn = create(ChatRequestSchema, { start: { text: 'hello' } });
const message = encodeEnvelope(0, toBinary(ChatRequestSchema, turn));

async function startHost() {
  const dir = tempDir(lifetime);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const { jwksFile, issuer: iss, audience } = issuer;
  const config = {
    rpc: { port: 0, tls: { certFile, keyFile, caFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer: iss, audience },
    ledger: {
      dir: join(dir, 'ledger'),
      key: { file: file('key.pem', generateKeyPair().privatePem) },
    },
    providers: { mock: { scriptFile: file('script.yaml', SCRIPT) } },
    limits: { turnsPerPod: SLOTS, turnsPerTenant: SLOTS },
    log: { level: 'warn' },
  };
  const args = ['--config', file('host.yaml', JSON.stringify(config))];
  const flags = ['--disable-warning=ExperimentalWarning', 'dist/model-host/main.mjs'];
  const child = spawn(process.execPath, [...flags, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  lifetime.after(async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const users = Array.from({ length: USERS }, (_, n) => issuer.token({ user: `user-${n}` }));
  const tokens = await Promise.all(users);
  for await (const line of createInterface({ input: child.stdout })) {
    const session = connect(JSON.parse(line).rpc, { ca: readFileSync(caFile) });
    lifetime.after(() => session.close());
    return { session, tokens };
  }
  throw new Error('the host ended before it was ready');
}

interface Ended {
  done: number;
  refused: number;
  /** Without a status: the connection's memory was full, or the sender was refused too often. */
  reset: number;
}

/** Starts turns at a steady rate, whatever becomes of them. */
async function offer(
  { session, tokens }: { session: ClientHttp2Session; tokens: readonly string[] },
  overload: number,
): Promise<Ended & { perSecond: number }> {
  const ended: Ended = { done: 0, refused: 0, reset: 0 };
  const open: Promise<void>[] = [];
  const startedMs = performance.now();
  for (let nowMs = startedMs; nowMs - startedMs < ROUND_MS; nowMs = performance.now()) {
    const due = ((nowMs - startedMs) / 1000) * CAPACITY_PER_S * overload;
    while (open.length < due) open.push(start(session, nextOf(tokens), ended));
    await sleep(TICK_MS);
  }
  const tookS = (performance.now() - startedMs) / 1000;
  const perSecond = ended.done / tookS;
  await Promise.all(open);
  return { ...ended, perSecond };
}

let next = 0;
function nextOf(tokens: readonly string[]): string {
  next = (next + 1) % tokens.length;
  return tokens[next] ?? '';
}

async function start(session: ClientHttp2Session, token: string, ended: Ended): Promise<void> {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/zerolatency.agent.v1.AgentService/Chat' },
    ...{ 'content-type': 'application/grpc', authorization: `Bearer ${token}` },
  });
  let status: unknown;
  stream.on('response', (headers) => {
    status = headers['grpc-status'];
  });
  stream.on('trailers', (trailers) => {
    status = trailers['grpc-status'];
  });
  stream.on('error', () => {});
  stream.resume();
  stream.end(message);
  await new Promise((resolve) => stream.once('close', resolve));
  if (status === undefined) ended.reset += 1;
  else if (status === '0') ended.done += 1;
  else if (status === '8') ended.refused += 1;
  else throw new Error(`a turn ended with status ${status}`);
}

const host = await startHost();
for (const overload of OVERLOADS) await offer(host, overload);
const perSecond = new Map<number, number[]>(OVERLOADS.map((overload) => [overload, []]));
const refused = new Map<number, number>();
let resets = 0;
// In turns, so that the noise of the machine hits all of them.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const overload of OVERLOADS) {
    const ended = await offer(host, overload);
    perSecond.get(overload)?.push(ended.perSecond);
    refused.set(overload, (refused.get(overload) ?? 0) + ended.refused);
    resets += ended.reset;
  }
}
await cleanUp();

const goodput = (overload: number) => percentile(perSecond.get(overload) ?? [], 0.5);
const baseline = goodput(1);
const counts = OVERLOADS.map((overload) => `${refused.get(overload) ?? 0} at ${overload}x`);
report({
  name: 'overload',
  method: `${SLOTS} slots and turns of ${CHUNKS * CHUNK_MS} ms make 1x ${CAPACITY_PER_S} turns a second, from ${USERS} users, in ${ROUNDS} rounds of ${ROUND_MS / 1000} s each; refused with a reason: ${counts.join(', ')}; reset without one: ${resets}`,
  figures: [
    ...OVERLOADS.map((overload) => ({
      metric: `turns completed at ${overload}x`,
      value: goodput(overload),
      unit: 'per second',
      baseline,
    })),
    {
      metric: 'time per completed turn at 50x',
      value: 1000 / goodput(50),
      unit: 'ms',
      baseline: 1000 / baseline,
      goal: GOAL,
    },
  ],
});
