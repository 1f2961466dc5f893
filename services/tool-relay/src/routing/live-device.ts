import { callKeyOf, FrameKind, kindOf, rewriteDevice } from '@zerolatency/frame';
import type { DeviceLimits } from '../config.ts';
import type { Allowance } from '../limits/allowance.ts';
import type { Backlog } from '../limits/backlog.ts';
import type { Lease, LostReason, RelayMetrics, Socket } from '../ports.ts';
import { busyFrame, type OpenedFields, openedFrame } from './relay-frames.ts';
import { RouteTable } from './route-table.ts';
import type { TenantUsage } from './tenant-usage.ts';

/** A call without a frame for this long is over, whatever its ends have failed to say. */
const ROUTE_IDLE_MS = 15 * 60 * 1000;

/** A host's hold on a device: a handle on a link. */
export interface Holder {
  readonly handle: number;
  /** Calls that the link has routes for, of all its handles. */
  readonly usage: { calls: number; readonly maxCalls: number };
  /** Takes over the bytes. */
  deliver(frame: Uint8Array): void;
  /** The hold is over; the host is told. */
  lost(reason: LostReason): void;
}

export interface LiveDeviceOptions {
  readonly lease: Lease;
  readonly socket: Socket;
  readonly limits: DeviceLimits;
  readonly tenant: TenantUsage;
  readonly allowance: Allowance;
  readonly metrics: RelayMetrics;
  readonly backlog: Backlog;
  readonly session: { cut(reason: 'slow' | 'superseded'): void };
  readonly opened: OpenedFields;
}

/** A device with a lease, as routing sees it: who holds it, and whose calls it runs. */
export class LiveDevice {
  readonly lease: Lease;
  readonly epoch: number;
  readonly #options: LiveDeviceOptions;
  /** Made for the first: most devices of a pod are held by nobody. */
  #holders: Set<Holder> | undefined;
  readonly #routes = new RouteTable<Holder>();
  #opened: OpenedFields;

  constructor(options: LiveDeviceOptions) {
    this.lease = options.lease;
    this.epoch = options.lease.epoch;
    this.#options = options;
    this.#opened = options.opened;
  }

  get calls(): number {
    return this.#routes.size;
  }

  /** From here on the holder hears of the device, until it or the device is gone. */
  hold(holder: Holder): void {
    this.#holders ??= new Set();
    this.#holders.add(holder);
    holder.deliver(openedFrame(holder.handle, this.#opened));
  }

  release(holder: Holder): void {
    this.#holders?.delete(holder);
    this.#uncount(holder, this.#routes.deleteAllOf(holder));
  }

  changeCatalog(catalog: Uint8Array): void {
    this.#opened = { ...this.#opened, catalog };
    for (const holder of [...(this.#holders ?? [])]) {
      holder.deliver(openedFrame(holder.handle, this.#opened));
    }
  }

  /** Another session of the same device has a newer lease. */
  supersede(): void {
    this.#options.session.cut('superseded');
  }

  /** The socket is closed. */
  gone(reason: LostReason): void {
    const holders = [...(this.#holders ?? [])];
    for (const holder of holders) this.release(holder);
    for (const holder of holders) holder.lost(reason);
    this.#options.backlog.forget('device', this.#options.socket);
  }

  /** A canonical frame of kinds 32 to 47, of this epoch. It is written to. */
  fromHost(holder: Holder, frame: Uint8Array, nowMs: number): void {
    const { tenant, metrics, socket, limits, backlog } = this.#options;
    const kind = kindOf(frame);
    const callKey = callKeyOf(frame);
    const route = this.#routes.find(callKey);
    const isAsking = kind === FrameKind.CALL || kind === FrameKind.RESUME;
    if (!isAsking && route !== undefined) {
      if (route.holder !== holder) {
        metrics.refused('host', 'identity.forbidden');
        return;
      }
      if (kind === FrameKind.ACK) this.#unbind(callKey, holder);
      else route.usedAtMs = nowMs;
    }
    const mayPass =
      tenant.fromHosts.take(frame.length, nowMs) &&
      (!isAsking || this.#bind(callKey, holder, nowMs));
    if (!mayPass) {
      metrics.refused('host', 'limit.exceeded');
      // It asks again, later each time. Of the other kinds, each is made good by asking.
      if (isAsking) holder.deliver(busyFrame(holder.handle, frame, this.#opened));
      return;
    }
    rewriteDevice(frame, 0);
    metrics.passed('host', frame.length);
    const queuedBytes = socket.send(frame);
    if (queuedBytes === 0) return;
    backlog.note('device', socket);
    if (queuedBytes > limits.maxQueueBytes) this.#options.session.cut('slow');
  }

  /** A canonical frame of kinds 48 to 63. It is written to. */
  fromDevice(frame: Uint8Array, nowMs: number): void {
    const { metrics } = this.#options;
    const callKey = callKeyOf(frame);
    const route = this.#routes.find(callKey);
    if (route === undefined) {
      metrics.refused('device', 'request.invalid');
      return;
    }
    const { holder } = route;
    const kind = kindOf(frame);
    // The call is over, or is sent again, which makes its route anew.
    if (kind === FrameKind.NOT_SEEN || kind === FrameKind.REFUSED) {
      this.#unbind(callKey, holder);
    } else {
      route.usedAtMs = nowMs;
    }
    rewriteDevice(frame, holder.handle);
    metrics.passed('device', frame.length);
    holder.deliver(frame);
  }

  /** False when what was received goes beyond what one device, or its tenant, may send. */
  mayReceive(bytes: number, nowMs: number): boolean {
    const { allowance, tenant } = this.#options;
    return allowance.take(bytes, nowMs) && tenant.fromDevices.take(bytes, nowMs);
  }

  forgetUnusedRoutes(nowMs: number): void {
    if (this.#routes.size === 0) return;
    const holders = this.#routes.deleteUnusedSince(nowMs - ROUTE_IDLE_MS);
    for (const holder of holders) this.#uncount(holder, 1);
  }

  #bind(callKey: string, holder: Holder, nowMs: number): boolean {
    const route = this.#routes.find(callKey);
    if (route?.holder === holder) {
      route.usedAtMs = nowMs;
      return true;
    }
    // A call that is resumed over another link is routed there from now on.
    if (route !== undefined) this.#unbind(callKey, route.holder);
    const { tenant, limits } = this.#options;
    const { usage } = holder;
    const hasRoom =
      this.#routes.size < limits.maxCalls &&
      tenant.calls < tenant.limits.maxCalls &&
      usage.calls < usage.maxCalls;
    if (!hasRoom) return false;
    this.#routes.set(callKey, holder, nowMs);
    tenant.calls += 1;
    usage.calls += 1;
    return true;
  }

  #unbind(callKey: string, holder: Holder): void {
    this.#routes.delete(callKey);
    this.#uncount(holder, 1);
  }

  #uncount(holder: Holder, calls: number): void {
    holder.usage.calls -= calls;
    this.#options.tenant.calls -= calls;
  }
}
