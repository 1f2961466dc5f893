import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromConnectError } from '@zerolatency/service/rpc';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { type AttackedHost, startAttackedHost, turnsDuring } from './attacked-host.ts';

const AT_ONCE = 50;
/** A share of a turn's CPU. */
const MAX_RATIO = 1 / 5;
const COMPARED = size({ short: 5, long: 9 });
/** Only the first hundred refusals of a token are certain to be explained. */
const ROUNDS = Math.min(8, Math.floor(100 / COMPARED));
const WARM_UPS = 10;
/** Slots are held for longer than any of it takes. */
const SETTINGS = { 'limits.turnsPerUser': 1, 'turn.timeout': '1h' };

type Sender = Record<string, string>;

test('[HOST-12] a turn without a free slot is refused, with or without a reason, at a fifth of the CPU of a turn', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t, { settings: SETTINGS });
  const senders = async (name: string, token = name) => {
    const sender = async (_: unknown, n: number) => ({
      authorization: `Bearer ${await host.issuer.token({ user: `${name}-${n}`, roles: [token] })}`,
    });
    return Promise.all(Array.from({ length: AT_ONCE }, sender));
  };
  const free = await senders('free');
  const full = await senders('full');
  const [greedy = {}] = await senders('full', 'greedy');
  const flood = Array.from({ length: AT_ONCE }, () => greedy);
  await Promise.all(full.map((sender) => holdSlot(host, sender)));
  await cpuMsOf(host, free, WARM_UPS);
  await cpuMsOf(host, await senders('full', 'warm up'), WARM_UPS);

  const honest = await turnsDuring(host, cpuMsOf(host, flood, WARM_UPS));
  assert.deepEqual(honest.failures, []);

  const explained: number[] = [];
  const reset: number[] = [];
  for (let compared = 0; compared < COMPARED; compared++) {
    const turn = await cpuMsOf(host, free, ROUNDS);
    assert.deepEqual([...turn.endings.keys()], ['assistantDone']);
    const refusal = await cpuMsOf(host, full, ROUNDS);
    assert.deepEqual([...refusal.endings.keys()], ['limit.exceeded']);
    explained.push(refusal.cpuMs / turn.cpuMs);
    const inFlood = await cpuMsOf(host, flood, ROUNDS);
    assert.ok(!inFlood.endings.has('assistantDone'));
    reset.push(inFlood.cpuMs / turn.cpuMs);
  }
  assert.ok((await host.metric('zl_rpc_cut_total', { reason: 'refused' })) > 0);

  const about = { attack: 'turns of a user without a free slot', unit: 'of a turn' };
  for (const [name, ratios] of Object.entries({
    'CPU of a refusal with its reason': explained,
    'CPU of a refusal in a flood': reset,
  })) {
    const value = medianOf(ratios);
    figure(t, { ...about, name, value });
    assert.ok(value < MAX_RATIO, `${name}: ${ratios.map((ratio) => ratio.toFixed(3))} of a turn`);
  }
});

async function holdSlot(host: AttackedHost, headers: Sender): Promise<void> {
  const held = host.client().chat({ start: { text: 'hang' } }, { headers });
  await held[Symbol.asyncIterator]().next();
}

/** Starts a turn for each sender at once, again and again: the CPU of one, and how they ended. */
async function cpuMsOf(host: AttackedHost, senders: readonly Sender[], rounds: number) {
  const client = host.client();
  const endings = new Map<string, number>();
  const run = async (headers: Sender) => {
    let ending = 'nothing';
    try {
      for await (const { event } of client.chat({ start: { text: 'hello' } }, { headers })) {
        ending = event?.event.case ?? ending;
      }
    } catch (reason) {
      ending = fromConnectError(reason).id;
    }
    endings.set(ending, (endings.get(ending) ?? 0) + 1);
  };
  const beforeMs = host.cpuMs();
  for (let round = 0; round < rounds; round++) await Promise.all(senders.map(run));
  return { cpuMs: (host.cpuMs() - beforeMs) / (rounds * senders.length), endings };
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
