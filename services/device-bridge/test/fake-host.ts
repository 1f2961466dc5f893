import { randomBytes } from 'node:crypto';
import { Caller, type CallerOutcome, type CallProgress } from '@zerolatency/call';
import { callKey } from '@zerolatency/frame';
import { newArgumentSalt } from '@zerolatency/receipts';
import { canonicalJson } from '@zerolatency/signing';
import type { DeviceRelay } from './device-relay.ts';

export interface Asked {
  readonly server?: string;
  readonly method?: string;
  readonly tool?: string;
  readonly params?: Uint8Array;
  readonly args?: unknown;
  readonly argumentSalt?: Uint8Array;
  readonly principal?: Partial<{ tenant: string; user: string; roles: string[] }>;
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  readonly traceparent?: string;
  readonly onProgress?: (report: CallProgress) => void;
}

export interface Answer extends CallerOutcome {
  readonly callId: string;
  readonly text: string;
  /** The tool's result. */
  readonly json: { structuredContent?: Record<string, unknown>; content?: { text?: string }[] };
}

export interface PendingCall {
  readonly callId: string;
  readonly answer: Promise<Answer>;
  cancel(): void;
}

/** The host's half of the call protocol, through a relay that forwards everything. */
export class FakeHost {
  readonly #relay: DeviceRelay;
  readonly #callers = new Map<string, Caller>();

  constructor(relay: DeviceRelay) {
    this.#relay = relay;
    relay.onFrame = (frame) => {
      this.#callers.get(callKey(frame.callId))?.frame(frame, Date.now());
    };
    relay.onSession = () => this.#route();
    relay.onLost = () => {
      for (const caller of this.#callers.values()) caller.routeLost(Date.now());
    };
  }

  call(asked: Asked): Promise<Answer> {
    return this.start(asked).answer;
  }

  start(asked: Asked): PendingCall {
    const { server = 'fs', method = 'tools/call', tool = 'read', args = {} } = asked;
    const callId = randomBytes(16).toString('hex');
    const settled = Promise.withResolvers<Answer>();
    const chunks: Uint8Array[] = [];
    const deadlineMs = Date.now() + (asked.timeoutMs ?? 20_000);
    const caller: Caller = new Caller(
      {
        callId,
        server,
        method,
        params: asked.params ?? canonicalJson({ name: tool, arguments: args }),
        argumentSalt: asked.argumentSalt ?? newArgumentSalt(),
        deadlineMs,
        settleByMs: deadlineMs + 2_000,
        maxBytes: asked.maxBytes ?? 4 * 1024 * 1024,
        bundleDigest: new Uint8Array(32),
        principal: { tenant: 'north', user: 'user-1', roles: ['reader'], ...asked.principal },
        traceparent: asked.traceparent ?? '',
      },
      {
        send: (frame) => this.#relay.send(frame),
        data: (chunk) => {
          chunks.push(Uint8Array.from(chunk));
          caller.consumed(chunk.length);
        },
        progress: (report) => asked.onProgress?.(report),
        settled: (outcome) => {
          clearInterval(timer);
          const text = Buffer.concat(chunks).toString('utf8');
          caller.acknowledge();
          settled.resolve({ ...outcome, callId, text, json: text === '' ? {} : JSON.parse(text) });
        },
      },
    );
    const timer = setInterval(() => {
      if (Date.now() >= caller.nextWakeMs) caller.tick(Date.now());
    }, 5);
    this.#callers.set(callId, caller);
    this.#route(caller);
    return { callId, answer: settled.promise, cancel: () => caller.cancel(Date.now()) };
  }

  #route(only?: Caller): void {
    const { session } = this.#relay;
    if (session === undefined) return;
    const route = { device: 0, epoch: session.epoch, journalId: session.hello.journalId };
    for (const caller of only ? [only] : this.#callers.values()) caller.routeUp(route, Date.now());
  }
}
