import type { Caller, CallerSink, CallIntent, CallOutcome } from '@zerolatency/call';
import type { Frame } from '@zerolatency/frame';
import { FrameKind } from '@zerolatency/proto/frame';
import type { Verifier } from '@zerolatency/signing';
import type { DeviceRoute, DeviceSession, RouteUser } from './ports.ts';
import { ResultBuffer } from './result-buffer.ts';

export interface RemoteEnding {
  readonly outcome: CallOutcome;
  readonly result: Uint8Array;
  /** The device itself said so; then its receipt must be there. */
  readonly statedByDevice: boolean;
  /** Of the device as it was last reached. */
  readonly verifier: Verifier | undefined;
  readonly remoteUs: number;
}

export interface RemoteCallEvents {
  readonly onProgress: ((receivedBytes: number) => void) | undefined;
  readonly onRoute: (state: 'sent' | 'resuming') => void;
}

export interface RemoteCallOptions {
  readonly route: DeviceRoute;
  readonly callId: string;
  /** Which machine drives the call: a new one, or one that recovers an earlier call. */
  readonly caller: (sink: CallerSink) => Caller;
  readonly nowMs: () => number;
  readonly events: RemoteCallEvents;
}

/** One call on its way to a device and back: gives the caller machine its route, its time and its buffer. */
export class RemoteCall implements CallerSink, RouteUser {
  readonly #options: RemoteCallOptions;
  readonly #caller: Caller;
  readonly #buffer: ResultBuffer;
  #settle: (ending: RemoteEnding) => void = () => {};
  #startedMs = 0;
  #session: DeviceSession | undefined;
  #settled = false;
  #statedByDevice = false;
  #timer: NodeJS.Timeout | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(options: RemoteCallOptions) {
    this.#options = options;
    this.#buffer = new ResultBuffer();
    this.#caller = options.caller(this);
  }

  /** What the ledger must hold before start(). */
  intent(journalId: Uint8Array): CallIntent {
    return this.#caller.intent(journalId);
  }

  /** The call is with the kernel when this returns, if the route is up. */
  start(signal: AbortSignal): Promise<RemoteEnding> {
    const { route, callId, nowMs } = this.#options;
    this.#startedMs = nowMs();
    return new Promise((resolve) => {
      const onAbort = () => this.#input(() => this.#caller.cancel(nowMs()));
      this.#settle = (ending) => {
        clearTimeout(this.#timer);
        signal.removeEventListener('abort', onAbort);
        resolve(ending);
      };
      signal.addEventListener('abort', onAbort);
      route.attach(callId, this);
      if (signal.aborted) onAbort();
      else this.#arm();
    });
  }

  /**
   * The call needs its route no more. Acknowledged once the outcome is safe with
   * this host: the device may then free the result.
   */
  release({ acknowledge }: { acknowledge: boolean }): void {
    if (acknowledge) this.#caller.acknowledge();
    this.#options.route.detach(this.#options.callId);
  }

  onRouteUp(session: DeviceSession): void {
    this.#session = session;
    if (!this.#settled) this.#options.events.onRoute('sent');
    this.#input(() => this.#caller.routeUp(session, this.#options.nowMs()));
  }

  onRouteLost(): void {
    if (!this.#settled) this.#options.events.onRoute('resuming');
    this.#input(() => this.#caller.routeLost(this.#options.nowMs()));
  }

  onFrame(frame: Frame): void {
    if (frame.kind === FrameKind.OUTCOME) this.#statedByDevice = true;
    this.#input(() => this.#caller.frame(frame, this.#options.nowMs()));
  }

  send(frame: Frame): void {
    this.#options.route.send(frame);
  }

  data(chunk: Uint8Array): void {
    const { events } = this.#options;
    this.#buffer.push(chunk);
    this.#caller.consumed(chunk.length);
    events.onProgress?.(this.#buffer.length);
  }

  settled(outcome: CallOutcome): void {
    this.#settled = true;
    this.#settle({
      outcome,
      result: this.#buffer.view(),
      statedByDevice: this.#statedByDevice,
      verifier: this.#session?.verifier,
      remoteUs: Math.round((this.#options.nowMs() - this.#startedMs) * 1000),
    });
  }

  #input(give: () => void): void {
    give();
    this.#arm();
  }

  #arm(): void {
    const { nextWakeMs } = this.#caller;
    if (nextWakeMs === this.#armedForMs) return;
    this.#armedForMs = nextWakeMs;
    clearTimeout(this.#timer);
    if (nextWakeMs === Number.POSITIVE_INFINITY) return;
    const { nowMs } = this.#options;
    // A timer may fire a moment early; it is then set again for the rest.
    this.#timer = setTimeout(
      () => {
        this.#armedForMs = Number.POSITIVE_INFINITY;
        this.#input(() => this.#caller.tick(nowMs()));
      },
      Math.max(0, Math.ceil(nextWakeMs - nowMs())),
    );
  }
}
