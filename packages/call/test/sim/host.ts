import type { Frame } from '@zerolatency/frame';
import { callKey, FrameKind } from '@zerolatency/frame';
import {
  Caller,
  type CallerOutcome,
  type CallerSink,
  type CallIntent,
  JournalClock,
  type Route,
} from '../../src/index.ts';
import { type Fate, live } from './death.ts';
import type { CallPlan } from './schedule.ts';
import { CLOCK_START_MS, type Timeline } from './timeline.ts';
import type { Witness } from './witness.ts';

const GRACE_MS = 1_000;
const RECOVERY_MS = 4_000;
const WINDOW_BYTES = 64;
export const MAX_BYTES = 400;
const LIMITS = { windowBytes: WINDOW_BYTES, cancelGraceMs: 1_500, probeMs: 100, maxProbeMs: 800 };
const CONSUME_MS = 2;
/** A question about the journal's clock can be lost like any other frame. */
const ASK_AGAIN_MS = 50;

export interface HostParts {
  readonly timeline: Timeline;
  readonly witness: Witness;
  readonly fate: Fate;
  readonly send: (frame: Frame) => void;
  readonly onStart: () => void;
  readonly recordsIntentFirst: boolean;
  /** How far its clock is off. */
  readonly skewMs: number;
  readonly onSettled: (callId: string, outcome: CallerOutcome) => void;
}

interface LiveCall {
  readonly caller: Caller;
  readonly chunks: Uint8Array[];
  readonly isRecovered: boolean;
  readonly settleByMs: number;
  /** What the host's clock added to true time when the call began; setting it changes nothing for the call. */
  readonly clockMs: number;
  /** The caller is of release 0.1.0: it states its deadline by its own clock. */
  readonly isOlder: boolean;
  unreadBytes: number;
}

/** A host with a ledger that survives it. */
export class SimHost {
  readonly #parts: HostParts;
  readonly #open = new Map<string, CallIntent>();
  readonly #live = new Map<string, LiveCall>();
  #route: Route | undefined;
  #life = 0;
  #isUp = true;
  #clock: { readonly clock: JournalClock; readonly route: Route } | undefined;
  /** What its clock adds to true time. */
  #clockMs: number;

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.#clockMs = CLOCK_START_MS + parts.skewMs;
  }

  /** In true time. */
  get nextWakeMs(): number {
    let wakeMs = Number.POSITIVE_INFINITY;
    for (const { caller, clockMs } of this.#live.values()) {
      wakeMs = Math.min(wakeMs, caller.nextWakeMs - clockMs);
    }
    return wakeMs;
  }

  #nowMs({ clockMs }: Pick<LiveCall, 'clockMs'>): number {
    return this.#parts.timeline.nowMs + clockMs;
  }

  call(callId: string, plan: CallPlan): void {
    if (!this.#isUp) return;
    const { witness, timeline } = this.#parts;
    witness.planned(callId, plan, timeline.nowMs);
    const clockMs = this.#clockMs;
    const deadlineMs = this.#nowMs({ clockMs }) + plan.timeoutMs;
    const settleByMs = deadlineMs + GRACE_MS;
    const caller = new Caller(
      {
        callId,
        deadlineMs,
        settleByMs,
        hasEffects: plan.hasEffects,
        server: 'sim',
        method: 'tools/call',
        params: Buffer.from('{}'),
        argumentSalt: Buffer.alloc(16, 3),
        maxBytes: MAX_BYTES,
        bundleDigest: Buffer.alloc(32),
        principal: { tenant: 'north', user: 'user-1', roles: [] },
        traceparent: '',
      },
      this.#sinkOf(callId),
      LIMITS,
    );
    const { isOlder } = plan;
    const call = { caller, chunks: [], isRecovered: false, settleByMs, clockMs, isOlder };
    this.#live.set(callId, { ...call, unreadBytes: 0 });
    if (this.#route) this.#offer(callId, this.#route);
  }

  cancel(callId: string): void {
    const call = this.#live.get(callId);
    if (call) this.#alive(() => call.caller.cancel(this.#nowMs(call)));
  }

  crash({ downMs }: { readonly downMs: number }): void {
    this.#isUp = false;
    this.#life += 1;
    this.#route = undefined;
    this.#clock = undefined;
    this.#live.clear();
    this.#parts.timeline.after(downMs, () => this.#start());
  }

  stepClock(byMs: number): void {
    this.#clockMs += byMs;
  }

  routeUp(route: Route): void {
    if (!this.#isUp) return;
    const { send, timeline } = this.#parts;
    const clock = new JournalClock(route, { send, steadyMs: () => timeline.nowMs });
    this.#clock = { clock, route: { ...route, journalNowMs: () => clock.nowMs() } };
    this.#ask(clock);
  }

  #ask(clock: JournalClock): void {
    if (this.#clock?.clock !== clock || this.#route === this.#clock.route) return;
    void clock.ask();
    this.#parts.timeline.after(ASK_AGAIN_MS, () => this.#ask(clock));
  }

  routeLost(): void {
    this.#route = undefined;
    this.#clock = undefined;
    this.#each((call, nowMs) => call.caller.routeLost(nowMs));
  }

  hear(frame: Frame): void {
    if (this.#clock?.clock.hear(frame) && this.#route !== this.#clock.route) {
      this.#route = this.#clock.route;
      for (const callId of [...this.#live.keys()]) this.#offer(callId, this.#route);
    }
    const call = this.#live.get(callKey(frame.callId));
    if (call) this.#alive(() => call.caller.frame(frame, this.#nowMs(call)));
  }

  tick(): void {
    this.#each(({ caller }, nowMs) => {
      if (caller.nextWakeMs <= nowMs) caller.tick(nowMs);
    });
  }

  /** Calls whose outcome is not stated although their time is over. */
  overdue(): string[] {
    const late = [...this.#live.values()].filter((call) => {
      const { caller, settleByMs } = call;
      return caller.nextWakeMs < Number.POSITIVE_INFINITY && settleByMs < this.#nowMs(call);
    });
    return late.map(({ caller }) => caller.callId);
  }

  #start(): void {
    this.#isUp = true;
    for (const intent of this.#open.values()) {
      const { callId } = intent;
      const clockMs = this.#clockMs;
      // Time to ask, however long the host was away.
      const settleByMs = this.#nowMs({ clockMs }) + RECOVERY_MS;
      const caller = Caller.recover({ ...intent, settleByMs }, this.#sinkOf(callId), LIMITS);
      const call = { caller, chunks: [], isRecovered: true, settleByMs, clockMs, isOlder: false };
      this.#live.set(callId, { ...call, unreadBytes: 0 });
    }
    this.#parts.onStart();
  }

  #offer(callId: string, known: Route): void {
    const { witness, fate, recordsIntentFirst } = this.#parts;
    const call = this.#live.get(callId);
    if (call === undefined) return;
    const { caller, isOlder } = call;
    const { journalNowMs: _unknown, ...plain } = known;
    const route = isOlder ? plain : known;
    this.#alive(() => {
      const isFirst = caller.state.name === 'validated';
      const intend = () => {
        if (!isFirst) return;
        const intent = caller.intent(route.journalId);
        this.#open.set(caller.callId, intent);
        witness.intended(intent);
        fate.pass('intended');
      };
      if (recordsIntentFirst) intend();
      caller.routeUp(route, this.#nowMs(call));
      if (!recordsIntentFirst) intend();
    });
  }

  #sinkOf(callId: string): CallerSink {
    const { witness, fate, timeline } = this.#parts;
    const life = this.#life;
    return {
      send: (frame) => {
        witness.hostSaid(frame);
        this.#parts.send(frame);
        if (frame.kind === FrameKind.CALL) fate.pass('sent');
      },
      data: (chunk) => {
        const call = this.#live.get(callId);
        call?.chunks.push(Uint8Array.from(chunk));
        witness.delivered(callId, Buffer.concat(call?.chunks ?? []));
        if (call === undefined) return;
        call.unreadBytes += chunk.length;
        if (call.unreadBytes > WINDOW_BYTES)
          witness.violate(callId, 'got more than it has room for');
        timeline.after(CONSUME_MS, () => {
          call.unreadBytes -= chunk.length;
          if (life === this.#life) this.#alive(() => call.caller.consumed(chunk.length));
        });
      },
      settled: (outcome) => {
        fate.pass('settled');
        const call = this.#live.get(callId);
        const delivered = call?.isRecovered ? undefined : Buffer.concat(call?.chunks ?? []);
        this.#open.delete(callId);
        witness.settled(callId, outcome, delivered);
        this.#live.delete(callId);
        fate.pass('recorded');
        call?.caller.acknowledge();
        this.#parts.onSettled(callId, outcome);
      },
    };
  }

  #each(part: (call: LiveCall, nowMs: number) => void): void {
    this.#alive(() => {
      for (const call of [...this.#live.values()]) part(call, this.#nowMs(call));
    });
  }

  #alive(part: () => void): void {
    if (this.#isUp) live(part, (how) => this.crash(how));
  }
}
