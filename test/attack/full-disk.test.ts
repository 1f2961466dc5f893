import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromUnknown } from '@zerolatency/errors';
import { CallOutcome, type ChatEvent } from '@zerolatency/proto/agent';
import { eventually, type FullDisk, fullDisk } from '@zerolatency/testing';
import { addEffectsServer, configOf, editConfig, traceOf } from '../e2e/effects.ts';
import { grpcClient, healthCheck } from '../e2e/grpc-client.ts';
import { runTurn, type System, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const ATTACK = 'full ledger disk';
const CALLERS = 6;
const ROUNDS = size({ short: 2, long: 20 });
const TURNS_BETWEEN = 30;
/** A ledger of all rounds, and the space without which the host does not go on. */
const DISK_BYTES = 16 * 1024 * 1024;

interface Told {
  /** Names the call of a tool with effects; empty for other calls. */
  readonly key: string;
  readonly outcome: string;
  readonly errorId: string;
  /** In any error of the turn. */
  readonly isRetryable: boolean;
}

/** Chats in several streams at once, and again as soon as the host is ready after a refusal. */
class Load {
  readonly told: Told[] = [];
  readonly #system: System;
  readonly #callers: Promise<void>[];
  #isOver = false;

  constructor(system: System) {
    this.#system = system;
    this.#callers = Array.from({ length: CALLERS }, (_, index) => this.#chat(index % 2 === 0));
  }

  async done(count: number): Promise<void> {
    const isDone = ({ outcome }: Told) => outcome === 'DONE';
    const wanted = this.told.filter(isDone).length + count;
    await Promise.race([
      eventually(() => this.told.filter(isDone).length >= wanted, { timeoutMs: 60_000 }),
      Promise.all(this.#callers),
    ]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#callers);
  }

  async #chat(hasEffects: boolean): Promise<void> {
    let session = await this.#system.chat();
    while (!this.#isOver) {
      const key = hasEffects ? randomUUID().replaceAll('-', '') : '';
      const text = hasEffects ? `act ${key} 20 100` : 'read welcome.txt';
      const events: ChatEvent[] = [];
      try {
        await runTurn(session, text, (event) => events.push(event));
        this.told.push(told(key, events));
      } catch (reason) {
        const { id: errorId, retryable: isRetryable } = fromUnknown(reason);
        this.told.push({ key, outcome: 'REFUSED', errorId, isRetryable });
        session.close();
        await eventually(() => this.#isOver || isReady(this.#system), { timeoutMs: 60_000 });
        session = await this.#system.chat();
      }
    }
    session.close();
  }
}

function told(key: string, events: readonly ChatEvent[]): Told {
  const errors = events.flatMap(({ event }) => {
    if (event.case === 'error') return [event.value];
    return event.case === 'toolCallDone' ? (event.value.error ?? []) : [];
  });
  const ended = events.find(({ event }) => event.case === 'toolCallDone')?.event;
  return {
    key,
    outcome: ended?.case === 'toolCallDone' ? (CallOutcome[ended.value.outcome] ?? '') : 'NONE',
    errorId: errors[0]?.id ?? '',
    isRetryable: errors.some(({ retryable }) => retryable),
  };
}

async function isReady({ settings }: System): Promise<boolean> {
  return (await fetch(`${settings.host.adminUrl}/readyz`)).status === 200;
}

async function installed(t: TestContext) {
  let disk: FullDisk | undefined;
  const system = await startSystem(t, {
    prepare: async (layout) => {
      disk = fullDisk(t, { bytes: DISK_BYTES });
      await addEffectsServer(layout);
      const { ledger } = await configOf(layout.host.config);
      const dir = disk === undefined ? ledger.dir : join(disk.dir, 'ledger');
      await editConfig(layout.host.config, { ledger: { ...ledger, dir } });
    },
  });
  return { system, disk };
}

/** What readiness, gRPC health, the component report and a new turn say of the host. */
async function sayingsOf({ settings, chat }: System) {
  const { adminUrl, url, caFile } = settings.host;
  const read = async (path: string) => JSON.parse(await (await fetch(adminUrl + path)).text());
  const ready = await read('/readyz');
  const { components } = await read('/health');
  const client = grpcClient(url, { ca: await readFile(caFile, 'utf8') });
  const [health] = await client.ask<{ status: string | number }>(healthCheck(), [{ service: '' }]);
  client.close();
  const refusal = await runTurn(await chat(), 'read welcome.txt').then(
    ({ ending }) => assert.fail(`the turn ended with ${ending}`),
    fromUnknown,
  );
  const ledger = components.find(({ name }: { name: string }) => name === 'ledger');
  return { ready, health, ledger, refusal };
}

test('[AUD-02] [RLY-05] a full ledger disk stops new turns, falsifies none, and is left behind once it has space', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const { system, disk } = await installed(t);
  if (disk === undefined) return t.skip('needs to mount a file system');
  const load = new Load(system);
  let recoveryMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await load.done(TURNS_BETWEEN);
    disk.fill();
    await eventually(async () => !(await isReady(system)), { timeoutMs: 60_000 });
    const { ready, health, ledger, refusal } = await sayingsOf(system);
    assert.match(ready.reasons.join(), /the ledger cannot be written.*ENOSPC/);
    assert.match(String(health?.status), /NOT_SERVING|2/);
    assert.equal(ledger.status, 'down');
    assert.match(ledger.error.message, /ENOSPC|bytes left/);
    assert.deepEqual([refusal.id, refusal.retryable], ['ledger.failed', true]);
    disk.empty();
    const emptiedMs = performance.now();
    await eventually(() => isReady(system), { timeoutMs: 60_000 });
    recoveryMs = Math.max(recoveryMs, performance.now() - emptiedMs);
  }
  await load.done(TURNS_BETWEEN);
  await load.stop();

  const traced = load.told.map((one) => ({
    ...one,
    trace: one.key === '' ? [] : traceOf(system.layout, one.key),
  }));
  const falsely = traced.filter(({ key, outcome, isRetryable, trace }) => {
    if (key === '') return false;
    if (outcome === 'DONE') return trace.join() !== 'began,ended';
    return trace.length > 0 && (outcome !== 'UNKNOWN' || isRetryable);
  });
  const unknown = load.told.filter(({ outcome }) => outcome === 'UNKNOWN');
  const refused = load.told.filter(({ outcome }) => outcome === 'REFUSED');
  figure(t, { attack: ATTACK, name: 'calls', value: load.told.length, unit: 'calls' });
  figure(t, { attack: ATTACK, name: 'calls told falsely', value: falsely.length, unit: 'calls' });
  figure(t, {
    attack: ATTACK,
    name: 'calls that are unknown',
    value: unknown.length,
    unit: 'calls',
  });
  figure(t, { attack: ATTACK, name: 'time to recover, at most', value: recoveryMs, unit: 'ms' });
  assert.deepEqual(falsely, []);
  assert.deepEqual(
    refused.filter(({ errorId }) => errorId !== 'ledger.failed'),
    [],
  );
  await system.stop('model-host');
  const verify = ['audit', 'verify', join(disk.dir, 'ledger'), '--json'];
  const { status, stdout, stderr } = await system.zl(...verify);
  assert.equal(status, 0, stdout + stderr);
  assert.equal(JSON.parse(stdout).openIntents, 0);
});
