import type { Frame } from '@zerolatency/frame';
import { callKey, FrameKind } from '@zerolatency/frame';
import {
  Caller,
  type CallerOutcome,
  type CallerSink,
  type CallIntent,
  type Route,
} from '../../src/index.ts';
import { type Fate, live } from './death.ts';
import type { CallPlan } from './schedule.ts';
import { CLOCK_START_MS, type Timeline } from './timeline.ts';
import type { Witness } from './witness.ts';

const GRACE_MS = 1_000;
const WINDOW_BYTES = 64;
export const MAX_BYTES = 400;
const LIMITS = { windowBytes: WINDOW_BYTES, cancelGraceMs: 1_500, probeMs: 100, maxProbeMs: 800 };
const CONSUME_MS = 2;

export interface HostParts {
  readonly timeline: Timeline;
  readonly witness: Witness;
  readonly fate: Fate;
  readonly send: (frame: Frame) => void;
  readonly onStart: () => void;
  readonly recordsIntentFirst: boolean;
  readonly onSettled: (callId: string, outcome: CallerOutcome) => void;
}

interface LiveCall {
  readonly caller: Caller;
  readonly chunks: Uint8Array[];
  readonly isRecovered: boolean;
  readonly settleByMs: number;
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
  /** What its clock adds to true time. */
  #clockMs = CLOCK_START_MS;

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  /** In true time. */
  get nextWakeMs(): number {
    let wakeMs = Number.POSITIVE_INFINITY;
    for (const { caller } of this.#live.values()) wakeMs = Math.min(wakeMs, caller.nextWakeMs);
    return wakeMs - this.#clockMs;
  }

  get #nowMs(): number {
    return this.#parts.timeline.nowMs + this.#clockMs;
  }

  call(callId: string, plan: CallPlan): void {
    if (!this.#isUp) return;
    this.#parts.witness.planned(callId, plan);
    const deadlineMs = this.#nowMs + plan.timeoutMs;
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
    this.#live.set(callId, { caller, chunks: [], isRecovered: false, settleByMs, unreadBytes: 0 });
    if (this.#route) this.#offer(caller, this.#route);
  }

  cancel(callId: string): void {
    this.#alive(() => this.#live.get(callId)?.caller.cancel(this.#nowMs));
  }

  crash({ downMs }: { readonly downMs: number }): void {
    this.#isUp = false;
    this.#life += 1;
    this.#route = undefined;
    this.#live.clear();
    this.#parts.timeline.after(downMs, () => this.#start());
  }

  stepClock(byMs: number): void {
    this.#clockMs += byMs;
  }

  routeUp(route: Route): void {
    if (!this.#isUp) return;
    this.#route = route;
    for (const { caller } of [...this.#live.values()]) this.#offer(caller, route);
  }

  routeLost(): void {
    this.#route = undefined;
    this.#each((caller) => caller.routeLost(this.#nowMs));
  }

  hear(frame: Frame): void {
    const call = this.#live.get(callKey(frame.callId));
    if (call) this.#alive(() => call.caller.frame(frame, this.#nowMs));
  }

  tick(): void {
    this.#each((caller) => {
      if (caller.nextWakeMs <= this.#nowMs) caller.tick(this.#nowMs);
    });
  }

  /** Calls whose outcome is not stated although their time is over. */
  overdue(): string[] {
    const late = [...this.#live.values()].filter(({ caller, settleByMs }) => {
      return caller.nextWakeMs < Number.POSITIVE_INFINITY && settleByMs < this.#nowMs;
    });
    return late.map(({ caller }) => caller.callId);
  }

  #start(): void {
    this.#isUp = true;
    for (const intent of this.#open.values()) {
      const { callId } = intent;
      // Time to ask, however long the host was away.
      const settleByMs = Math.max(intent.settleByMs, this.#nowMs + GRACE_MS);
      const caller = Caller.recover({ ...intent, settleByMs }, this.#sinkOf(callId), LIMITS);
      this.#live.set(callId, { caller, chunks: [], isRecovered: true, settleByMs, unreadBytes: 0 });
    }
    this.#parts.onStart();
  }

  #offer(caller: Caller, route: Route): void {
    const { witness, fate, recordsIntentFirst } = this.#parts;
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
      caller.routeUp(route, this.#nowMs);
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

  #each(part: (caller: Caller) => void): void {
    this.#alive(() => {
      for (const { caller } of [...this.#live.values()]) part(caller);
    });
  }

  #alive(part: () => void): void {
    if (this.#isUp) live(part, (how) => this.crash(how));
  }
}
