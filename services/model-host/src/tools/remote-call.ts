import {
  Caller,
  type CallerRequest,
  type CallerSink,
  type CallIntent,
  type CallOutcome,
} from '@zerolatency/call';
import type { Frame } from '@zerolatency/frame';
import { FrameKind } from '@zerolatency/proto/frame';
import type { DeviceRoute, DeviceSession, RouteUser } from './ports.ts';
import { ResultBuffer } from './result-buffer.ts';

export interface RemoteEnding {
  readonly outcome: CallOutcome;
  readonly result: Uint8Array;
  /** The device itself said so; then its receipt must be there. */
  readonly statedByDevice: boolean;
  readonly remoteUs: number;
}

export interface RemoteCallEvents {
  readonly onProgress?: (receivedBytes: number) => void;
  readonly onRoute: (state: 'sent' | 'resuming') => void;
}

export interface RemoteCallOptions {
  readonly route: DeviceRoute;
  readonly request: CallerRequest;
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
  #statedByDevice = false;
  #timer: NodeJS.Timeout | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(options: RemoteCallOptions) {
    this.#options = options;
    this.#buffer = new ResultBuffer(options.request.maxBytes);
    this.#caller = new Caller(options.request, this);
  }

  /** What the ledger must hold before start(). */
  intent(journalId: Uint8Array): CallIntent {
    return this.#caller.intent(journalId);
  }

  /** The call is with the kernel when this returns, if the route is up. */
  start(signal: AbortSignal): Promise<RemoteEnding> {
    const { route, request, nowMs } = this.#options;
    this.#startedMs = nowMs();
    return new Promise((resolve) => {
      const onAbort = () => this.#input(() => this.#caller.cancel(nowMs()));
      this.#settle = (ending) => {
        clearTimeout(this.#timer);
        signal.removeEventListener('abort', onAbort);
        resolve(ending);
      };
      signal.addEventListener('abort', onAbort);
      route.attach(request.callId, this);
      if (signal.aborted) onAbort();
      else this.#arm();
    });
  }

  /** The outcome is safe with this host: the device may free the result, and the call needs its route no more. */
  acknowledge(): void {
    this.#caller.acknowledge();
    this.#options.route.detach(this.#options.request.callId);
  }

  onRouteUp(session: DeviceSession): void {
    this.#options.events.onRoute('sent');
    this.#input(() => this.#caller.routeUp(session, this.#options.nowMs()));
  }

  onRouteLost(): void {
    this.#options.events.onRoute('resuming');
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
    const { events, nowMs } = this.#options;
    if (!this.#buffer.push(chunk)) {
      this.#caller.cancel(nowMs());
      return;
    }
    this.#caller.consumed(chunk.length);
    events.onProgress?.(this.#buffer.length);
  }

  settled(outcome: CallOutcome): void {
    this.#settle({
      outcome,
      result: this.#buffer.view(),
      statedByDevice: this.#statedByDevice,
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
