import type {
  Caller,
  CallerOutcome,
  CallerSink,
  CallIntent,
  Route,
  CallProgress as ToolProgress,
} from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Server } from '@zerolatency/proto/bridge';
import { FrameKind } from '@zerolatency/proto/frame';
import type { Verifier } from '@zerolatency/signing';
import type { CallOptions } from '../../ports.ts';

/** The connection of a device, as this host reaches it now. */
export interface DeviceConnection extends Route {
  readonly servers: readonly Server[];
  /** Signed by the enrolment authority; verified. */
  readonly credential: string;
  /** For the key in the credential, which alone signs this device's receipts. */
  readonly verifier: Verifier;
}

export interface RouteUser {
  onFrame(frame: Frame): void;
  onRouteUp(connection: DeviceConnection): void;
  onRouteLost(): void;
}

/** The route to one device. It reconnects for as long as anyone needs it. */
export interface DeviceRoute {
  readonly connection: DeviceConnection | undefined;
  /** Rejects soon with the ZlError that keeps the device from being reached. */
  ready(signal: AbortSignal): Promise<DeviceConnection>;
  /** Calls onRouteUp at once when the route is up. */
  attach(callId: string, user: RouteUser): void;
  detach(callId: string): void;
  send(frame: Frame): void;
}

export interface DeviceRoutes {
  route(tenant: string, deviceId: string): DeviceRoute;
}

/** For a host without a relay: chats go on, and no device can be reached. */
export const NO_DEVICES: DeviceRoutes = {
  route: () => ({
    connection: undefined,
    ready: () => Promise.reject(new ZlError('relay.unreachable', 'relay.urls is empty')),
    attach() {},
    detach() {},
    send() {},
  }),
};

export interface RemoteAnswer {
  readonly outcome: CallerOutcome;
  readonly result: Uint8Array;
  /** The device itself stated the outcome, so its receipt must be there. */
  readonly isStatedByDevice: boolean;
  /** The key of the device as it was last reached. */
  readonly verifier: Verifier | undefined;
  readonly remoteUs: number;
}

export interface RemoteCallOptions {
  readonly route: DeviceRoute;
  readonly callId: string;
  /** The machine that drives the call: a new one, or one for a call of an earlier run. */
  readonly caller: (sink: CallerSink) => Caller;
  readonly nowMs: () => number;
  readonly onProgress?: CallOptions['onProgress'] | undefined;
  readonly onResumed?: () => void;
}

/** One call to a device: connects the caller machine to its route, clock and buffer. */
export class RemoteCall implements CallerSink, RouteUser {
  readonly #options: RemoteCallOptions;
  readonly #caller: Caller;
  readonly #buffer = new ResultBuffer();
  #settle: (answer: RemoteAnswer) => void = () => {};
  #startedMs = 0;
  #verifier: Verifier | undefined;
  #wasLost = false;
  #isSettled = false;
  #isStatedByDevice = false;
  #timer: NodeJS.Timeout | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(options: RemoteCallOptions) {
    this.#options = options;
    this.#caller = options.caller(this);
  }

  /** What the ledger must hold before start(). */
  intent(journalId: Uint8Array): CallIntent {
    return this.#caller.intent(journalId);
  }

  /** The call is with the kernel when this returns, if the route is up. */
  start(signal: AbortSignal): Promise<RemoteAnswer> {
    const { route, callId, nowMs } = this.#options;
    this.#startedMs = nowMs();
    return new Promise((resolve) => {
      const onAbort = () => this.#input(() => this.#caller.cancel(nowMs()));
      this.#settle = (answer) => {
        clearTimeout(this.#timer);
        signal.removeEventListener('abort', onAbort);
        resolve(answer);
      };
      signal.addEventListener('abort', onAbort);
      route.attach(callId, this);
      if (signal.aborted) onAbort();
      else this.#arm();
    });
  }

  /** Acknowledged once the outcome is safe with this host: the device may then free the result. */
  release({ acknowledge }: { acknowledge: boolean }): void {
    if (acknowledge) this.#caller.acknowledge();
    this.#options.route.detach(this.#options.callId);
  }

  onRouteUp(connection: DeviceConnection): void {
    this.#verifier = connection.verifier;
    if (this.#wasLost && !this.#isSettled) this.#options.onResumed?.();
    this.#wasLost = false;
    this.#input(() => this.#caller.routeUp(connection, this.#options.nowMs()));
  }

  onRouteLost(): void {
    this.#wasLost = true;
    this.#input(() => this.#caller.routeLost(this.#options.nowMs()));
  }

  onFrame(frame: Frame): void {
    if (frame.kind === FrameKind.OUTCOME) this.#isStatedByDevice = true;
    this.#input(() => this.#caller.frame(frame, this.#options.nowMs()));
  }

  send(frame: Frame): void {
    this.#options.route.send(frame);
  }

  data(chunk: Uint8Array): void {
    this.#buffer.push(chunk);
    this.#caller.consumed(chunk.length);
    this.#options.onProgress?.({ receivedBytes: this.#buffer.length });
  }

  progress(report: ToolProgress): void {
    this.#options.onProgress?.({ receivedBytes: this.#buffer.length, ...report });
  }

  settled(outcome: CallerOutcome): void {
    this.#isSettled = true;
    this.#settle({
      outcome,
      result: this.#buffer.view(),
      isStatedByDevice: this.#isStatedByDevice,
      verifier: this.#verifier,
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

const FIRST_BYTES = 4096;

/** Collects a result whose length the caller machine bounds; copies each byte about twice at most. */
export class ResultBuffer {
  #bytes: Uint8Array = new Uint8Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#bytes.length) this.#grow(length);
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(atLeast: number): void {
    const bytes = new Uint8Array(Math.max(atLeast, FIRST_BYTES, this.#bytes.length * 2));
    bytes.set(this.view());
    this.#bytes = bytes;
  }
}
