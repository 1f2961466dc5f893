import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { DEFAULT_RELAY_LIMITS } from '../../services/model-host/src/adapters/relay/limits.ts';
import { addEffectsServer, traceOf } from '../e2e/effects.ts';
import { type Call, runTurn, type System, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const CALLERS = 8;
const RESTARTS = size({ short: 2, long: 20 });
/** After each restart, so that it hits calls in every state. */
const CALLS_BETWEEN = 40;

/** A turn outlives the kill by a restart, and by what is left of a backoff of 1 s on either side. */
const MAX_TURN_RESTARTS = 3;

interface Ended extends Call {
  readonly ms: number;
}

/** Keeps calling in several sessions at once, with and without effects. */
class Load {
  readonly ended: Ended[] = [];
  /** Turns told that the device is offline: the host waited for it in vain, and no call began. */
  offline = 0;
  readonly #system: System;
  readonly #callers: Promise<void>[];
  #isOver = false;

  constructor(system: System) {
    this.#system = system;
    this.#callers = Array.from({ length: CALLERS }, (_, index) => this.#callOn(index % 2 === 0));
  }

  async passed(count: number): Promise<void> {
    const wanted = this.ended.length + count;
    while (this.ended.length < wanted) await Promise.race([this.#oneMore(), ...this.#callers]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#callers);
  }

  #waiting: PromiseWithResolvers<void> | undefined;

  #oneMore(): Promise<void> {
    this.#waiting ??= Promise.withResolvers();
    return this.#waiting.promise;
  }

  async #callOn(hasEffects: boolean): Promise<void> {
    const session = await this.#system.chat();
    while (!this.#isOver) {
      const startMs = performance.now();
      const key = randomUUID().replaceAll('-', '');
      const text = hasEffects ? `act ${key} 20 100` : 'read welcome.txt';
      const { calls, ending } = await runTurn(session, text);
      const [call] = calls;
      if (call === undefined && ending === 'device.offline') {
        this.offline++;
        await this.#system.healthy();
        continue;
      }
      if (call === undefined) throw new Error(`a turn without a call ended with ${ending}`);
      this.ended.push({ ...call, ms: performance.now() - startMs });
      this.#waiting?.resolve();
      this.#waiting = undefined;
    }
    session.close();
  }
}

async function underLoad(t: TestContext, harm: (system: System) => Promise<void>) {
  const system = await startSystem(t, { prepare: addEffectsServer });
  const load = new Load(system);
  await load.passed(CALLS_BETWEEN);
  let slowestMs = 0;
  for (let n = 0; n < RESTARTS; n++) {
    const harmedMs = performance.now();
    await harm(system);
    await system.healthy();
    slowestMs = Math.max(slowestMs, performance.now() - harmedMs);
    await load.passed(CALLS_BETWEEN);
  }
  await load.stop();
  const { reconnectWaitMs, retry } = DEFAULT_RELAY_LIMITS;
  // On a busy machine a program may start more slowly than a host waits for it.
  const wasWaitedFor = slowestMs < reconnectWaitMs - retry.maxMs;
  if (wasWaitedFor) assert.equal(load.offline, 0);
  return { system, ended: load.ended, slowestMs, offline: load.offline, wasWaitedFor };
}

function report(
  t: TestContext,
  attack: string,
  { ended, slowestMs, offline }: Awaited<ReturnType<typeof underLoad>>,
): void {
  const failed = ended.filter(({ outcome }) => outcome !== 'DONE');
  const longestMs = Math.max(...ended.map(({ ms }) => ms));
  figure(t, { attack, name: 'calls', value: ended.length, unit: 'calls' });
  figure(t, { attack, name: 'calls that were not done', value: failed.length, unit: 'calls' });
  figure(t, { attack, name: 'longest turn', value: longestMs, unit: 'ms' });
  figure(t, { attack, name: 'slowest restart', value: slowestMs, unit: 'ms' });
  figure(t, {
    attack,
    name: 'turns told that the device is offline',
    value: offline,
    unit: 'turns',
  });
}

function assertAllDone({
  system,
  ended,
  wasWaitedFor,
}: Awaited<ReturnType<typeof underLoad>>): void {
  const failed = ended.filter(
    ({ outcome, errorId }) => outcome !== 'DONE' && (wasWaitedFor || errorId !== 'device.offline'),
  );
  assert.deepEqual(
    failed.map(({ outcome, errorId, errorMessage }) => ({ outcome, errorId, errorMessage })),
    [],
  );
  const began = ended.flatMap(({ resultJson }) => /"text":"(\w{32})/.exec(resultJson)?.[1] ?? []);
  assert.ok(began.length > 0);
  for (const key of began) assert.deepEqual(traceOf(system.layout, key), ['began', 'ended']);
}

test('[BRG-01] [RLY-05] restarts of the bridge under load fail no call and repeat none', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const load = await underLoad(t, async (running) => {
    await running.stop('device-bridge');
    await running.start('device-bridge');
  });
  report(t, 'bridge restarts', load);
  assertAllDone(load);
});

test('[RLY-05] relays killed one after another under load fail no call and repeat none', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const load = await underLoad(t, async (running) => {
    await running.kill('tool-relay');
    await running.start('tool-relay');
  });
  report(t, 'relay kills', load);
  assertAllDone(load);
  const longestMs = Math.max(...load.ended.map(({ ms }) => ms));
  const longest = longestMs / load.slowestMs;
  figure(t, {
    attack: 'relay kills',
    name: 'longest turn, in slowest restarts',
    value: longest,
    unit: '',
  });
  assert.ok(longest < MAX_TURN_RESTARTS, `${longest} restarts`);
});
