import { decodeFrame, FrameKind, isKnownKind, kindOf } from '@zerolatency/frame';
import type { Lease } from '../directory/directory.ts';
import { Allowance } from '../limits/allowance.ts';
import type { Sender } from '../limits/fair-share.ts';
import { Pace } from '../limits/pace.ts';
import type { Clock } from '../ports.ts';
import { LiveDevice } from '../routing/live-device.ts';
import type { TenantUsage } from '../routing/live-devices.ts';
import type { LostReason } from '../routing/relay-frames.ts';
import type { Socket } from '../sockets/socket-engine.ts';
import type { SessionContext } from './device-session.ts';
import { type Cut, type Disconnect, malformed, TENANT_TOO_FAST, unreadable } from './disconnect.ts';
import { type Hello, type ProvedDevice, readCatalog } from './hello.ts';
import { type Renewer, SessionRenewal } from './session-renewal.ts';

/** Reading a large catalog delays every call by milliseconds. A bridge starts its servers one by one. */
const CATALOGS_PER_SECOND = 16;
const CATALOG_RETRY_MS = 100;
/** A device with so many held frames is not read until they have been passed on. */
const MAX_HELD_FRAMES = 16;
/** One past the callee's kinds, 48 to 63. */
const END_OF_CALLEE_KINDS = 64;

export interface LiveSessionOptions {
  readonly hello: Hello;
  readonly lease: Lease;
  readonly issuedAtMs: number | undefined;
  readonly socket: Socket;
  readonly session: {
    cut(reason: Cut): void;
    end(disconnect: Disconnect): void;
    renewed(device: ProvedDevice): void;
  };
}

/** The live part of a device session: its lease, and its place in routing. */
export class LiveSession implements Sender {
  readonly device: LiveDevice;
  readonly #context: SessionContext;
  readonly #allowance: Allowance;
  readonly #tenant: TenantUsage;
  readonly #pace: Pace;
  readonly #session: LiveSessionOptions['session'];
  /** Allocated lazily: most devices never change their catalog. */
  #catalogs: CatalogThrottle | undefined;
  #renewal: SessionRenewal | undefined;
  /** Frames beyond the share of the tenant, in order. */
  #held: Uint8Array[] | undefined;
  readonly #socket: Socket;

  constructor(context: SessionContext, options: LiveSessionOptions) {
    const { devices, limits, clock, metrics, backlog } = context;
    const { lease, socket, session, issuedAtMs } = options;
    const { journalId, credential, catalog, features } = options.hello;
    this.#context = context;
    this.#allowance = new Allowance(limits, clock.monotonicMs());
    this.#session = session;
    this.#socket = socket;
    const tenant = devices.usageOf(lease.tenant);
    this.#tenant = tenant;
    this.#pace = new Pace({
      reader: socket,
      own: this.#allowance,
      turns: tenant.turns,
      monotonicMs: clock.monotonicMs,
      onPaused: (reason, ms) => metrics.readsPaused(reason, ms),
    });
    this.device = new LiveDevice({
      lease,
      socket,
      session,
      issuedAtMs,
      limits,
      metrics,
      backlog,
      tenant,
      opened: { epoch: lease.epoch, journalId, credential, catalog, deviceFeatures: features },
    });
    const earlier = devices.put(this.device, tenant);
    earlier?.supersede();
  }

  /** While a socket is not read, its peer's answers and its end are not seen. */
  get isPaused(): boolean {
    return this.#pace.isPaused;
  }

  /** Returns false when the device must go, as do the next two. */
  takeRead(bytes: number): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return this.#allowance.takeRead(bytes, nowMs) || this.#pace.slowOwn();
  }

  takeMessage(): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return this.#allowance.takeMessage(nowMs) || this.#pace.slowOwn();
  }

  takeControl(): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return this.#allowance.takeControl(nowMs) || this.#pace.slowOwn();
  }

  /** Takes a canonical frame. Returns why the session must end, if it must. */
  receive(frame: Uint8Array): Disconnect | undefined {
    const nowMs = this.#context.clock.monotonicMs();
    const { fromDevices, share } = this.#tenant;
    const isWithin = fromDevices.charge(frame.length, nowMs);
    if (!isWithin && !this.#pace.slowTenant()) return TENANT_TOO_FAST;
    if (this.#held === undefined && share.takeFrame(frame.length)) return this.#pass(frame, nowMs);
    this.#hold(frame);
    return undefined;
  }

  passNext(): number | undefined {
    const frame = this.#held?.shift();
    if (frame === undefined) {
      this.#held = undefined;
      return undefined;
    }
    this.#tenant.share.released(frame.length);
    const disconnect = this.#pass(frame, this.#context.clock.monotonicMs());
    if (disconnect !== undefined) this.#session.end(disconnect);
    return frame.length;
  }

  resume(): boolean {
    return this.#pace.takeShare();
  }

  /** The tenant has had its share for now. */
  #hold(frame: Uint8Array): void {
    const { share } = this.#tenant;
    this.#held ??= [];
    this.#held.push(Uint8Array.from(frame));
    share.hold(this, frame.length);
    if (this.#held.length < MAX_HELD_FRAMES && share.mayHold) return;
    const isPaused = this.#pace.waitForShare();
    // An engine that goes on reading must not fill the memory.
    if (!isPaused || !share.mayHold) this.passNext();
  }

  #pass(frame: Uint8Array, nowMs: number): Disconnect | undefined {
    const kind = kindOf(frame);
    if (kind >= FrameKind.DATA && kind < END_OF_CALLEE_KINDS) {
      this.device.fromDevice(frame, nowMs);
      return undefined;
    }
    if (kind === FrameKind.CATALOG) return this.#receiveCatalog(frame);
    const { renewer } = this.#context;
    if (kind === FrameKind.RENEW && renewer !== undefined) return this.#renew(frame, renewer);
    if (!isKnownKind(kind)) {
      this.#context.metrics.ignored('device');
      return undefined;
    }
    return malformed(`a live device does not send frames of kind ${kind}`);
  }

  end(reason: LostReason): void {
    // What it sent before it went, such as an outcome, still counts.
    while (this.passNext() !== undefined);
    this.#tenant.share.leave(this);
    this.#pace.close();
    this.#catalogs?.close();
    this.#renewal?.close();
    this.#context.devices.remove(this.device);
    this.device.gone(reason);
    this.#ignoreFailure(this.#context.directory.release(this.device.lease));
  }

  #receiveCatalog(bytes: Uint8Array): Disconnect | undefined {
    const { frame, error } = decodeFrame(bytes);
    if (error !== undefined) return unreadable(error);
    this.#catalogs ??= new CatalogThrottle({
      clock: this.#context.clock,
      apply: (payload) => this.#changeCatalog(payload),
      onDisconnect: (disconnect) => this.#session.end(disconnect),
    });
    return this.#catalogs.receive(frame.payload);
  }

  #renew(bytes: Uint8Array, renewer: Renewer): Disconnect | undefined {
    const { frame, error } = decodeFrame(bytes);
    if (error !== undefined) return unreadable(error);
    const { clock, metrics } = this.#context;
    this.#renewal ??= new SessionRenewal({
      ...{ renewer, clock, device: this.device.lease },
      send: (answer) => this.#socket.send(answer),
      onRenewed: (renewed) => {
        this.device.changeCredential(renewed.credential, renewed.issuedAtMs);
        this.#session.renewed(renewed);
      },
      onDropped: () => metrics.refused('device', 'limit.exceeded'),
    });
    return this.#renewal.receive(frame.payload);
  }

  #changeCatalog(payload: Uint8Array): Disconnect | undefined {
    const { limits, directory } = this.#context;
    const read = readCatalog(payload, limits);
    if ('error' in read) return unreadable(read.error);
    this.device.changeCatalog(read.catalog);
    this.#ignoreFailure(directory.renew([this.device.lease]));
    return undefined;
  }

  /** A live session does not need the directory; without it the lease expires by itself. */
  #ignoreFailure(updated: Promise<unknown>): void {
    updated.catch((err: unknown) => {
      const { deviceId } = this.device.lease;
      this.#context.log.warn({ err, deviceId }, 'directory not updated');
    });
  }
}

interface CatalogThrottleOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Returns why the session must end, if it must. */
  readonly apply: (payload: Uint8Array) => Disconnect | undefined;
  /** Called when a delayed catalog ends the session. */
  readonly onDisconnect: (disconnect: Disconnect) => void;
}

/** Bounds how often a catalog is read. Of those that arrive faster, only the newest counts. */
class CatalogThrottle {
  readonly #options: CatalogThrottleOptions;
  readonly #allowance: Allowance;
  #waiting: Uint8Array | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CatalogThrottleOptions) {
    this.#options = options;
    // The bytes are already counted with those of all other frames.
    const rate = { framesPerSecond: CATALOGS_PER_SECOND, bytesPerSecond: 0 };
    this.#allowance = new Allowance(rate, options.clock.monotonicMs());
  }

  receive(payload: Uint8Array): Disconnect | undefined {
    const { clock, apply } = this.#options;
    if (this.#timer === undefined && this.#allowance.take(0, clock.monotonicMs())) {
      return apply(payload);
    }
    this.#waiting = Uint8Array.from(payload);
    this.#timer ??= setTimeout(() => this.#next(), CATALOG_RETRY_MS);
    return undefined;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting = undefined;
  }

  #next(): void {
    const waiting = this.#waiting;
    this.#timer = undefined;
    this.#waiting = undefined;
    const disconnect = waiting && this.receive(waiting);
    if (disconnect !== undefined) this.#options.onDisconnect(disconnect);
  }
}
