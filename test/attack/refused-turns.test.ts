import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { type AttackedHost, startAttackedHost, turnsDuring } from './attacked-host.ts';

const AT_ONCE = 50;
/** A fifth, and room for a noisy machine: the slower the attack, the more of it is explained. */
const MAX_RATIO = 1 / 3;
const ROUNDS = size({ short: 20, long: 200 });
/** Only the first hundred refusals of a token are certain to be explained. */
const EXPLAINED_ROUNDS = 20;

test('[HOST-12] turns of a user without a free slot cost a fraction of a turn', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t, { settings: { 'limits.turnsPerUser': 1 } });
  const headersOf = async (user: string) => {
    return { authorization: `Bearer ${await host.issuer.token({ user })}` };
  };
  const users = await Promise.all(
    Array.from({ length: AT_ONCE }, (_, n) => headersOf(`user-${n}`)),
  );
  const greedy = await headersOf('greedy');
  const holdSlot = async (headers: Record<string, string>) => {
    const held = host.client().chat({ start: { text: 'hang' } }, { headers });
    await held[Symbol.asyncIterator]().next();
  };
  await holdSlot(greedy);
  await cpuMsOf(host, users);
  const turn = await cpuMsOf(host, users);
  assert.deepEqual([...turn.endings.keys()], ['assistantDone']);
  const attack = Array.from({ length: AT_ONCE }, () => greedy);
  const honest = await turnsDuring(host, cpuMsOf(host, attack));
  assert.deepEqual(honest.failures, []);
  const refusal = await cpuMsOf(host, attack);
  assert.deepEqual([...refusal.endings.keys()], ['refused']);
  const ratio = refusal.cpuMs / turn.cpuMs;
  assert.ok(ratio < MAX_RATIO, `${refusal.cpuMs} ms for a refusal, ${turn.cpuMs} ms for a turn`);
  const about = { attack: 'turns of a user without a free slot' };
  figure(t, { ...about, name: 'refused', value: AT_ONCE * ROUNDS, unit: 'turns' });
  figure(t, { ...about, name: 'CPU of a refusal', value: ratio, unit: 'of a turn' });
  await Promise.all(users.map(holdSlot));
  const explained = await cpuMsOf(host, users, EXPLAINED_ROUNDS);
  assert.deepEqual([...explained.endings.keys()], ['refused']);
  const value = explained.cpuMs / turn.cpuMs;
  figure(t, { ...about, name: 'CPU of a refusal with its reason', value, unit: 'of a turn' });
});

/** Starts a turn for each of these headers at once, again and again. */
async function cpuMsOf(
  host: AttackedHost,
  senders: readonly Record<string, string>[],
  rounds = ROUNDS,
) {
  const client = host.client();
  const endings = new Map<string, number>();
  const run = async (headers: Record<string, string>) => {
    let ending = 'nothing';
    try {
      for await (const { event } of client.chat({ start: { text: 'hello' } }, { headers })) {
        ending = event?.event.case ?? ending;
      }
    } catch {
      ending = 'refused';
    }
    endings.set(ending, (endings.get(ending) ?? 0) + 1);
  };
  const beforeMs = host.cpuMs();
  for (let round = 0; round < rounds; round++) await Promise.all(senders.map(run));
  return { cpuMs: (host.cpuMs() - beforeMs) / (rounds * senders.length), endings };
}
