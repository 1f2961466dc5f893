// The way of a token: what the host costs and adds, against a bare Connect server of the same messages, and
// beside what an application would use instead: a loop around a vendor's package, and a gateway.
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from './lifetime.ts';
import { PACKAGE } from './peers/portkey.ts';
import { type Figure, percentile, report } from './report.ts';
import type { AskTurn } from './streams/client.ts';
import { type Server, startPeers, startServers } from './streams/servers.ts';

/** Fewer, for a look, are the first argument. */
const ROUNDS = Number(process.argv[2] ?? 5);
/** Of the memory slope; a full measurement takes ten. */
const MINUTES = Number(process.argv[3] ?? 2);
const PACE_MS = 4;
const DELTAS = 200;
const SESSIONS = 20;
const BURST = 500;
const MANY_SESSIONS = 100;
const FIRST_TOKENS_MS = 6_000;
const GOALS = { cpu: 1.5, burst: 1.2, addedP50Us: 1_500, addedP99Us: 10_000 };

const SCRIPT = `schema: zerolatency.mock-script/v1
rules:
- when: { text: '^paced' }
  reply: [{ text: { value: 'a word or two. ', chunkChars: 15, delayMs: ${PACE_MS}, repeat: ${DELTAS} } }]
- when: { text: '^chat' }
  reply: [{ text: { value: 'a word or two. ', chunkChars: 15, delayMs: 20, repeat: 25 } }]
- when: { text: '^burst' }
  reply: [{ text: { value: 'a word or two. ', chunkChars: 15, repeat: ${BURST} } }]
- when: { text: '^endless' }
  reply: [{ text: { value: 'a word or two. ', chunkChars: 15, delayMs: 20, repeat: ${MINUTES * 3_000} } }]
- reply: [{ text: hello }]
`;

/** CPU of the server for each delta beyond the first one of a turn. */
async function perDeltaUs(
  { program, ask }: Server,
  { short, long, deltas }: { short: string; long: string; deltas: number },
  model?: string,
): Promise<number> {
  const cpuUs = async (text: string) => {
    const beforeUs = program.cpuUs();
    await Promise.all(Array.from({ length: SESSIONS }, () => ask(text, model)));
    return program.cpuUs() - beforeUs;
  };
  const shortUs = await cpuUs(short);
  return ((await cpuUs(long)) - shortUs) / (SESSIONS * (deltas - 1));
}

/** First tokens of turns that many sessions ask one after another. */
async function firstTokensUs(ask: AskTurn): Promise<number[]> {
  const samples: number[] = [];
  const untilMs = performance.now() + FIRST_TOKENS_MS;
  const session = async () => {
    await sleep(Math.random() * 500);
    while (performance.now() < untilMs) samples.push((await ask('chat')).firstUs);
  };
  await Promise.all(Array.from({ length: MANY_SESSIONS }, session));
  return samples;
}

interface Slope {
  readonly grownBytes: number;
  readonly noiseBytes: number;
}

/** What a line through the samples of the last two thirds rises by, and what they scatter around it. */
async function memorySlope({ program, ask }: Server): Promise<Slope> {
  const turns = Promise.all(Array.from({ length: MANY_SESSIONS }, () => ask('endless')));
  const rss: number[] = [];
  const ticker = setInterval(() => rss.push(program.rssBytes()), 1_000);
  await turns;
  clearInterval(ticker);
  const kept = rss.slice(Math.floor(rss.length / 3));
  const middle = (kept.length - 1) / 2;
  const mean = kept.reduce((sum, bytes) => sum + bytes, 0) / kept.length;
  const rise =
    kept.reduce((sum, bytes, at) => sum + (at - middle) * (bytes - mean), 0) /
    kept.reduce((sum, _, at) => sum + (at - middle) ** 2, 0);
  const residuals = kept.map((bytes, at) => bytes - mean - rise * (at - middle));
  const noiseBytes = Math.max(...residuals) - Math.min(...residuals);
  return { grownBytes: rise * kept.length, noiseBytes };
}

const peers = await startPeers();
const { host, bare } = await startServers(SCRIPT, peers.vendorUrl);

const samples = new Map<string, number[]>();
const add = (name: string, ...values: number[]) => {
  samples.set(name, [...(samples.get(name) ?? []), ...values]);
};
const at = (name: string, share = 0.5) => percentile(samples.get(name) ?? [], share);

async function measureOwn(name: 'host' | 'bare', server: Server): Promise<void> {
  add(`${name} paced`, await perDeltaUs(server, { short: 'hi', long: 'paced', deltas: DELTAS }));
  add(`${name} burst`, await perDeltaUs(server, { short: 'hi', long: 'burst', deltas: BURST }));
  for (let turn = 0; turn < 40; turn += 1) {
    add(`${name} first of one`, (await server.ask('hi')).firstUs);
    add(`${name} first of burst`, (await server.ask('burst')).firstUs);
  }
  add(`${name} first of many`, ...(await firstTokensUs(server.ask)));
}

async function measurePeer(name: string, server: Server, model?: string): Promise<void> {
  const short = 'deltas=1 pace=0';
  const long = `deltas=${DELTAS} pace=${PACE_MS}`;
  add(`${name} cpu`, await perDeltaUs(server, { short, long, deltas: DELTAS }, model));
  for (let turn = 0; turn < 40; turn += 1)
    add(`${name} first`, (await server.ask(short, model)).firstUs);
  const { wholeUs } = await server.ask('deltas=2000 pace=0', model);
  add(`${name} us per delta`, wholeUs / 2000);
}

const beside = [
  ['the package alone', peers.sdk],
  ...(peers.portkey === undefined ? [] : [[PACKAGE, peers.portkey] as const]),
] as const;

async function round(): Promise<void> {
  await measureOwn('host', host);
  await measureOwn('bare', bare);
  await measurePeer('host', host, 'vendor');
  for (const [name, server] of beside) await measurePeer(name, server);
}

await round();
samples.clear();
// In turns, so that the noise of the machine hits all of them.
for (let done = 0; done < ROUNDS; done += 1) await round();
const slope = await memorySlope(host);
await cleanUp();

const addedUs = (share: number) =>
  at('host first of many', share) - at('bare first of many', share);
const against = (name: string): Figure[] => [
  {
    metric: `CPU per token, beside ${name}`,
    value: at('host cpu'),
    unit: 'us',
    baseline: at(`${name} cpu`),
  },
  {
    metric: `first token, beside ${name}`,
    value: at('host first'),
    unit: 'us',
    baseline: at(`${name} first`),
  },
  {
    metric: `time per token of a flood, beside ${name}`,
    value: at('host us per delta'),
    unit: 'us',
    baseline: at(`${name} us per delta`),
  },
];
report({
  name: 'streams',
  method: `${ROUNDS} rounds in turns; CPU of the server process over ${SESSIONS} streams of ${DELTAS} deltas every ${PACE_MS} ms, or bursts of ${BURST}, whose deltas the host merges; first tokens of ${samples.get('host first of many')?.length} turns of ${MANY_SESSIONS} sessions; baselines: a bare Connect server with the same provider, and beside it a loop around a vendor's package${peers.portkey === undefined ? '' : ` and ${PACKAGE}`}, without TLS, identity or record; memory over ${MINUTES} minutes`,
  figures: [
    {
      metric: 'CPU per delta',
      value: at('host paced'),
      unit: 'us',
      baseline: at('bare paced'),
      goal: GOALS.cpu,
    },
    {
      metric: 'CPU per delta of a burst',
      value: at('host burst'),
      unit: 'us',
      baseline: at('bare burst'),
      goal: GOALS.cpu,
    },
    {
      metric: 'first token of a burst, against one delta',
      value: at('host first of burst'),
      unit: 'us',
      baseline: at('host first of one'),
      goal: GOALS.burst,
    },
    {
      metric: 'the same of the bare server',
      value: at('bare first of burst'),
      unit: 'us',
      baseline: at('bare first of one'),
    },
    {
      metric: `first token at ${MANY_SESSIONS} sessions, p50`,
      value: at('host first of many'),
      unit: 'us',
      baseline: at('bare first of many'),
    },
    {
      metric: `first token at ${MANY_SESSIONS} sessions, p99`,
      value: at('host first of many', 0.99),
      unit: 'us',
      baseline: at('bare first of many', 0.99),
    },
    {
      metric: 'added by the host, p50, against the goal',
      value: addedUs(0.5),
      unit: 'us',
      baseline: GOALS.addedP50Us,
      goal: 1,
    },
    {
      metric: 'added by the host, p99, against the goal',
      value: addedUs(0.99),
      unit: 'us',
      baseline: GOALS.addedP99Us,
      goal: 1,
    },
    {
      metric: 'growth of memory, against its scatter',
      value: slope.grownBytes,
      unit: 'bytes',
      baseline: slope.noiseBytes,
      goal: 1,
    },
    ...beside.flatMap(([name]) => against(name)),
  ],
});
