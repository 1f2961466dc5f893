// What the host adds to the first token, and to a whole answer, against the mock provider read directly and over a bare stream.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { create } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService, StreamChatRequestSchema } from '@zerolatency/proto/agent';
import { durationMicros } from '@zerolatency/service/rpc';
import { generateKeyPair } from '@zerolatency/signing';
import { makeAuthority, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { mockProvider } from '../services/model-host/src/adapters/mock-provider/mock-provider.ts';
import { parseScript } from '../services/model-host/src/adapters/mock-provider/script.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { percentile, report } from './report.ts';

const WARM_UPS = 200;
const ROUNDS = 20;
const TURNS_PER_ROUND = 50;
const ANSWERS_PER_ROUND = 5;
const ANSWER_DELTAS = 500;
/** SLO-01: what the host itself may add, at p99. */
const ADDED_GOAL_US = 10_000;

const SCRIPT = `schema: zerolatency.mock-script/v1
rules:
- when: { text: '^long' }
  reply: [{ text: { value: 'a word or two. ', chunkChars: 15, repeat: ${ANSWER_DELTAS} } }]
- reply: [{ text: hello }]
`;

interface Timed {
  readonly firstUs: number;
  readonly wholeUs: number;
}

/** What the host says of each turn's first token itself. */
const insideUs: number[] = [];

type Ask = (text: string) => Promise<Timed>;

/** Times the first and the last of the chunks that an ask gives; the first is a token in all of them. */
async function time<T>(chunks: AsyncIterable<T>, look: (chunk: T) => void = () => {}) {
  const startedMs = performance.now();
  let firstUs = 0;
  for await (const chunk of chunks) {
    if (firstUs === 0) firstUs = (performance.now() - startedMs) * 1000;
    look(chunk);
  }
  return { firstUs, wholeUs: (performance.now() - startedMs) * 1000 };
}

function askDirectly(): Ask {
  const provider = mockProvider(parseScript(SCRIPT, 'bench'));
  return (text) => {
    const request = {
      tenant: 'north',
      model: 'm',
      system: '',
      messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }],
      tools: [],
      maxOutputTokens: 1_000_000,
    };
    return time(provider.stream(request, new AbortController().signal));
  };
}

function askBare(session: ClientHttp2Session): Ask {
  return (text) => time(session.request({ ':path': `/${text}` }));
}

function askHost(client: Client<typeof AgentService>, headers: Record<string, string>): Ask {
  return (text) => {
    const start = create(StreamChatRequestSchema, { action: { case: 'start', value: { text } } });
    const requests = (async function* () {
      yield start;
    })();
    return time(client.streamChat(requests, { headers }), ({ event }) => {
      if (event?.event.case !== 'assistantDone') return;
      insideUs.push(durationMicros(event.event.value.timeToFirstToken));
    });
  };
}

/** Starts a program, and gives the first line it prints. */
async function startProgram(path: string, args: readonly string[]): Promise<string> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', path, ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  lifetime.after(async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  if (child.stdout === null) throw new Error(`${path} has no output`);
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error(`${path} ended before it was ready`);
}

async function start(): Promise<Record<'direct' | 'bare' | 'host', Ask>> {
  const dir = tempDir(lifetime);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  const scriptFile = join(dir, 'script.yaml');
  const keyPem = join(dir, 'key.pem');
  writeFileSync(scriptFile, SCRIPT);
  writeFileSync(keyPem, generateKeyPair().privatePem);
  const configFile = join(dir, 'host.yaml');
  const { jwksFile, issuer: iss, audience } = issuer;
  const config = {
    rpc: { port: 0, tls: { certFile, keyFile, caFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer: iss, audience },
    ledger: { dir: join(dir, 'ledger'), key: { file: keyPem } },
    providers: { mock: { scriptFile } },
    log: { level: 'warn' },
  };
  writeFileSync(configFile, JSON.stringify(config));
  const ready = await startProgram('dist/model-host/main.mjs', ['--config', configFile]);
  const port = await startProgram('bench/floors/mock-stream.ts', [scriptFile, certFile, keyFile]);
  const ca = readFileSync(caFile);
  const session = connect(`https://127.0.0.1:${port}`, { ca });
  lifetime.after(() => session.close());
  const transport = createGrpcTransport({ baseUrl: JSON.parse(ready).rpc, nodeOptions: { ca } });
  const headers = { authorization: `Bearer ${await issuer.token()}` };
  return {
    direct: askDirectly(),
    bare: askBare(session),
    host: askHost(createClient(AgentService, transport), headers),
  };
}

const ways = await start();
const first = { direct: [] as number[], bare: [] as number[], host: [] as number[] };
const whole = { direct: [] as number[], bare: [] as number[], host: [] as number[] };
const NAMES = ['direct', 'bare', 'host'] as const;
for (const name of NAMES) for (let i = 0; i < WARM_UPS; i += 1) await ways[name]('hi');
insideUs.length = 0;
// In turns, so that the noise of the machine hits all three.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const name of NAMES) {
    for (let i = 0; i < TURNS_PER_ROUND; i += 1) first[name].push((await ways[name]('hi')).firstUs);
    for (let i = 0; i < ANSWERS_PER_ROUND; i += 1)
      whole[name].push((await ways[name]('long')).wholeUs);
  }
}
await cleanUp();

const directUs = percentile(first.direct, 0.5);
const at = (share: number) => ({
  value: percentile(first.host, share),
  unit: 'us',
  baseline: percentile(first.bare, share),
});
report({
  name: 'host-ttft',
  method: `${ROUNDS * TURNS_PER_ROUND} turns one at a time over one connection, in turns with a bare HTTP/2 stream of the same provider, whose own first token takes ${directUs.toFixed(0)} us in-process`,
  figures: [
    { metric: 'first token through the host, p50', ...at(0.5) },
    { metric: 'first token through the host, p99', ...at(0.99) },
    {
      metric: 'added to the provider, p50, against the SLO',
      value: percentile(first.host, 0.5) - directUs,
      unit: 'us',
      baseline: ADDED_GOAL_US,
      goal: 1,
    },
    {
      metric: 'added inside the host, p99, against the SLO',
      value: percentile(insideUs, 0.99),
      unit: 'us',
      baseline: ADDED_GOAL_US,
      goal: 1,
    },
    {
      metric: `answer of ${ANSWER_DELTAS} deltas, recorded, p50`,
      value: percentile(whole.host, 0.5),
      unit: 'us',
      baseline: percentile(whole.bare, 0.5),
    },
  ],
});
