import assert from 'node:assert/strict';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { mockProvider } from '../../src/adapters/mock-provider/mock-provider.ts';
import { parseScript } from '../../src/adapters/mock-provider/script.ts';
import { TurnReader } from '../../src/chat/reader.ts';
import { PodTurnLogs, type TurnLogsBounds } from '../../src/chat/turn-logs.ts';
import { Quotas } from '../../src/limits/quotas.ts';
import { Rules } from '../../src/limits/rules.ts';
import { TurnSlots } from '../../src/limits/turn-slots.ts';
import { Models, type ModelsOptions, type ModelTable } from '../../src/providers/models.ts';
import type { LlmProvider } from '../../src/providers/port.ts';
import { Prices } from '../../src/providers/prices.ts';
import type { TurnLimits } from '../../src/turn/budget.ts';
import type { TurnObserver } from '../../src/turn/telemetry.ts';
import { MAX_BEHIND_BYTES, TurnLog } from '../../src/turn/turn-log.ts';
import { type TurnAsk, Turns, type TurnsDeps } from '../../src/turn/turns.ts';
import {
  type FakeRecorder,
  type FakeTool,
  type FakeToolboxes,
  fakeRecorder,
  fakeToolboxes,
} from './fake-toolbox.ts';
import { user } from './replies.ts';

export const GENEROUS_LIMITS: TurnLimits = {
  maxSteps: 8,
  maxToolDepth: 1,
  timeoutMs: 60_000,
  maxInputTokens: 1_000_000,
  maxOutputTokens: 1_000_000,
  maxCostNanoUsd: Number.POSITIVE_INFINITY,
};

export interface TurnBench {
  readonly turns: Turns;
  readonly toolboxes: FakeToolboxes;
  readonly recorder: FakeRecorder;
  ask(text: string, extra?: Partial<TurnAsk>): TurnAsk;
}

export interface TurnBenchOptions {
  /** Rules of a mock script, without its header. */
  readonly rules?: string;
  readonly provider?: LlmProvider;
  /** As the provider names it. */
  readonly model?: string;
  readonly tools?: Readonly<Record<string, FakeTool>>;
  readonly deps?: Partial<TurnsDeps>;
}

const quiet: TurnObserver = {
  entered() {},
  firstToken() {},
  providerBegan() {},
  providerEnded() {},
  charged() {},
  fellBack() {},
  critiqued() {},
  unreadable() {},
  unrecorded() {},
  ended() {},
};

export function unlimited(): Quotas {
  return new Quotas({
    rules: new Rules({ tenants: {}, users: {} }),
    ...{ pods: 1, leaseMs: 1000, log: { info() {}, warn() {} } },
    metrics: { decided() {}, refused() {}, switched() {} },
  });
}

/** Turns over the scripted model and tools of this process. */
export function turnBench({
  rules,
  provider = scriptedProvider(rules ?? '- reply: [{ text: hello }]'),
  model = 'm',
  tools = {},
  deps,
}: TurnBenchOptions): TurnBench {
  const toolboxes = fakeToolboxes(tools);
  const recorder = fakeRecorder();
  const turns = new Turns({
    models: modelsOf({ mock: { provider: 'mock', model } }, { mock: provider }),
    retries: { rounds: 0, maxWaitMs: 0 },
    limits: GENEROUS_LIMITS,
    slots: new TurnSlots({
      limits: { Pod: 100, Tenant: 100, User: 100 },
      queue: { turns: 0, maxWaitMs: 0, weights: {} },
    }),
    quotas: unlimited(),
    toolboxes,
    recorder,
    prices: new Prices({ types: new Map(), nowMs: () => 0 }),
    assertWritable() {},
    bounds: { maxCallsPerStep: 4, maxToolResultBytes: 1000 },
    nowMs: () => 0,
    watch: () => ({ observer: quiet, within: (run) => run() }),
    ...deps,
  });
  return {
    turns,
    toolboxes,
    recorder,
    ask: (text, extra) => ({
      identity: { tenant: 'north', user: 'user-1', roles: [] },
      turnId: 'turn',
      sessionId: 'session',
      deviceId: 'laptop',
      messages: [user(text)],
      limits: {},
      model: '',
      traceparent: '',
      ...extra,
    }),
  };
}

/** The default is the first alias. */
export function modelsOf(
  aliases: ModelTable['aliases'],
  providers: Readonly<Record<string, LlmProvider>>,
  options: Partial<ModelsOptions> = {},
): Models {
  const [first = ''] = Object.keys(aliases);
  const byName = new Map(Object.entries(providers));
  return new Models({ default: first, aliases, tenants: {} }, byName, {
    breaker: { openForMs: 60_000, maxOpenForMs: 60_000 },
    prices: { costOf: () => undefined },
    ...options,
  });
}

export function scriptedProvider(rules: string): LlmProvider {
  return mockProvider(parseScript(`schema: zerolatency.mock-script/v1\nrules:\n${rules}`, 'test'));
}

export function podTurnLogs(
  bounds: Partial<TurnLogsBounds> = {},
  nowMs = () => performance.now(),
): PodTurnLogs {
  const turn = { maxBehindBytes: MAX_BEHIND_BYTES, windowBytes: 1e6, windowEvents: 1e6 };
  const wide = { turn, windowMs: 60_000, maxBytesPerTenant: 1e9, maxBytesPerPod: 1e9 };
  return new PodTurnLogs({ ...wide, ...bounds }, nowMs);
}

/** Starts a turn with one reader, as a chat has. */
export function startTurn(bench: TurnBench, text: string, extra?: Partial<TurnAsk>) {
  const ask = bench.ask(text, extra);
  const log = new TurnLog(ask);
  return { log, turn: bench.turns.start(ask, log), events: readEvents(log) };
}

/** The events of a log until it is closed. */
export async function* readEvents(log: TurnLog, from = 1): AsyncGenerator<ChatEvent> {
  let wake = () => {};
  const reader = new TurnReader(log, from, { onAppend: () => wake(), onMerged() {} });
  for (;;) {
    const event = reader.take();
    if (event !== undefined) yield event;
    else if (reader.isDone) return;
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  }
}

export async function runTurn(
  bench: TurnBench,
  text: string,
  extra?: Partial<TurnAsk>,
): Promise<ChatEvent[]> {
  const { events } = startTurn(bench, text, extra);
  return collect(events);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

/** Fails unless the events cover the sequences of the log without a gap. */
export function assertNoGap(events: readonly ChatEvent[], from = 1n): void {
  let next = from;
  for (const { firstSequence, sequence } of events) {
    assert.equal(firstSequence, next);
    assert.ok(sequence >= firstSequence);
    next = sequence + 1n;
  }
}
