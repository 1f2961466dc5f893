import { isAscii } from 'node:buffer';
import { TextDecoder } from 'node:util';
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
import { verifyDeviceReceipt } from '@zerolatency/receipts';
import type { Digest, Envelope, Verifier } from '@zerolatency/signing';
import type { DeviceReceipt, Execution, McpResult } from '../../calls/ports.ts';
import type { CallOptions } from '../../ports.ts';

/** The connection of a device, as this host reaches it now. */
export interface DeviceConnection extends Route {
  readonly servers: readonly Server[];
  /** Signed by the enrolment authority; verified. */
  readonly credential: string;
  /** For the key in the credential, which alone signs this device's receipts. */
  readonly verifier: Verifier;
  /** Those that both the device and its relay name. */
  readonly features: readonly string[];
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
  readonly #result = new ResultText();
  #settle: (execution: Execution) => void = () => {};
  #startedMs = 0;
  #verifier: Verifier | undefined;
  #wasLost = false;
  #isSettled = false;
  #wasSent: boolean;
  #isStatedByDevice = false;
  #timer: NodeJS.Timeout | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(options: RemoteCallOptions) {
    this.#options = options;
    this.#caller = options.caller(this);
    // A call of an earlier run is not sent here, and may have been sent there.
    this.#wasSent = this.#caller.state.name === 'resuming';
  }

  /** What the ledger must hold before start(). */
  intent(journalId: Uint8Array): CallIntent {
    return this.#caller.intent(journalId);
  }

  /** The call is with the kernel when this returns, if the route is up. */
  start(signal: AbortSignal): Promise<Execution> {
    const { route, callId, nowMs } = this.#options;
    this.#startedMs = nowMs();
    return new Promise((resolve) => {
      const onAbort = () => this.#input(() => this.#caller.cancel(nowMs()));
      this.#settle = (execution) => {
        clearTimeout(this.#timer);
        signal.removeEventListener('abort', onAbort);
        resolve(execution);
      };
      signal.addEventListener('abort', onAbort);
      route.attach(callId, this);
      if (signal.aborted) onAbort();
      else this.#arm();
    });
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
    this.#wasSent ||= frame.kind === FrameKind.CALL;
    this.#options.route.send(frame);
  }

  data(chunk: Uint8Array): void {
    this.#result.push(chunk);
    this.#caller.consumed(chunk.length);
    this.#options.onProgress?.({ receivedBytes: this.#result.length });
  }

  progress(report: ToolProgress): void {
    this.#options.onProgress?.({ receivedBytes: this.#result.length, ...report });
  }

  settled(outcome: CallerOutcome): void {
    this.#isSettled = true;
    this.#settle(this.#execution(outcome));
  }

  /** What this host believes: without the device's signature nothing is known. */
  #execution(outcome: CallerOutcome): Execution {
    const { nowMs } = this.#options;
    const remoteUs = Math.round((nowMs() - this.#startedMs) * 1000);
    const { status, deviceUs, serverUs } = outcome;
    const wasSent = this.#wasSent;
    const stated = { wasSent, remoteUs, deviceUs, serverUs, release: this.#release };
    // The caller may end a call as unknown after the device has stated its outcome.
    const isFromDevice =
      this.#isStatedByDevice && (status !== 'unknown' || outcome.receipt.length > 0);
    const device = isFromDevice ? readReceipt(outcome.receipt, this.#verifier) : undefined;
    if (device !== undefined && 'error' in device) {
      return { ...stated, outcome: 'unknown', error: device.error };
    }
    const proved = { ...stated, ...(device === undefined ? {} : { device }) };
    if (status !== 'done') return { ...proved, outcome: status, error: outcome.error };
    const resultDigest: Digest = `sha256:${Buffer.from(outcome.resultDigest).toString('hex')}`;
    const resultText = this.#result.end();
    const result = parseMcpResult(resultText);
    return { ...proved, outcome: status, resultDigest, result, resultText };
  }

  /** Acknowledged once the outcome is safe with this host: the device may then free the result. */
  readonly #release: NonNullable<Execution['release']> = ({ isRecorded }) => {
    if (isRecorded) this.#caller.acknowledge();
    this.#options.route.detach(this.#options.callId);
  };

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

function readReceipt(
  receipt: Uint8Array,
  verifier: Verifier | undefined,
): DeviceReceipt | { error: ZlError } {
  let envelope: unknown;
  try {
    envelope = JSON.parse(Buffer.from(receipt).toString());
  } catch (cause) {
    return { error: new ZlError('receipt.invalid', 'the device sent no receipt', { cause }) };
  }
  const deviceKeys = verifier === undefined ? [] : [verifier];
  const { value, error } = verifyDeviceReceipt({ envelope, deviceKeys });
  // It has verified as an envelope, so it is one.
  return error === undefined ? { envelope: envelope as Envelope, receipt: value } : { error };
}

function parseMcpResult(text: string | undefined): McpResult | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? value : undefined;
  } catch {
    // The caller reports a result that cannot be read.
    return undefined;
  }
}

const FIRST_BYTES = 4096;
/** A text of many small pieces would take many times its length. */
const MAX_HELD_BYTES = 64 * 1024;

/** Collects a result whose length the caller machine bounds, and holds it once: as text. */
export class ResultText {
  #text = '';
  #held: Uint8Array = new Uint8Array(0);
  #heldBytes = 0;
  #decodedBytes = 0;
  /** From the first bytes that are not ASCII on. */
  #decoder: TextDecoder | undefined;
  #isUtf8 = true;

  /** In bytes. */
  get length(): number {
    return this.#decodedBytes + this.#heldBytes;
  }

  push(chunk: Uint8Array): void {
    if (this.#heldBytes + chunk.length > MAX_HELD_BYTES) {
      this.#decode(this.#held.subarray(0, this.#heldBytes));
      this.#heldBytes = 0;
    }
    if (chunk.length > MAX_HELD_BYTES) {
      this.#decode(chunk);
      return;
    }
    const length = this.#heldBytes + chunk.length;
    if (length > this.#held.length) this.#grow(length);
    this.#held.set(chunk, this.#heldBytes);
    this.#heldBytes = length;
  }

  /** The whole; undefined unless it is UTF-8. Nothing may be pushed after. */
  end(): string | undefined {
    this.#decode(this.#held.subarray(0, this.#heldBytes));
    this.#decode(new Uint8Array(0), true);
    return this.#isUtf8 ? this.#text : undefined;
  }

  #decode(bytes: Uint8Array, isLast = false): void {
    this.#decodedBytes += bytes.length;
    if (this.#decoder === undefined && isAscii(bytes)) {
      // Several times as fast.
      const { buffer, byteOffset, length } = bytes;
      this.#text += Buffer.from(buffer, byteOffset, length).toString('latin1');
      return;
    }
    this.#decoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    try {
      if (this.#isUtf8) this.#text += this.#decoder.decode(bytes, { stream: !isLast });
    } catch {
      this.#isUtf8 = false;
      this.#text = '';
    }
  }

  #grow(atLeast: number): void {
    const bytes = new Uint8Array(Math.max(atLeast, FIRST_BYTES, this.#held.length * 2));
    bytes.set(this.#held.subarray(0, this.#heldBytes));
    this.#held = bytes;
  }
}
