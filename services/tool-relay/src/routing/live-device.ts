import type { ErrorId } from '@zerolatency/errors';
import { callKeyOf, FrameKind, HOSTS_FEATURE, kindOf, setDevice } from '@zerolatency/frame';
import type { DeviceLimits } from '../config.ts';
import { digestOfCatalog, type Lease } from '../directory/directory.ts';
import type { Backlog, Side } from '../limits/backlog.ts';
import type { Socket } from '../sockets/socket-engine.ts';
import type { TenantUsage } from './live-devices.ts';
import {
  busyFrame,
  hostFrame,
  type LostReason,
  type OpenedFields,
  openedFrame,
} from './relay-frames.ts';

/** A call without a frame for this long is over, even if neither end said so. */
const ROUTE_IDLE_MS = 15 * 60 * 1000;

/** The answers to these frames of a host need a route. */
const OPENING_KINDS: ReadonlySet<number> = new Set([
  FrameKind.CALL,
  FrameKind.RESUME,
  FrameKind.WITNESS,
]);
/** After these of a device the call or exchange is over, or the host makes a new route for it. */
const CLOSING_KINDS: ReadonlySet<number> = new Set([
  FrameKind.NOT_SEEN,
  FrameKind.REFUSED,
  FrameKind.WITNESSED,
]);

export interface RoutingMetrics {
  passed(from: Side, bytes: number): void;
  refused(from: Side, errorId: ErrorId): void;
  /** The kind is not one this release knows. */
  ignored(from: Side): void;
  routeLost(reason: LostReason): void;
}

/** A device that a host has opened on its link. */
export interface DeviceHandle {
  /** The device's number on the link. */
  readonly number: number;
  readonly hostName: string;
  /** The host named the feature "renewal". */
  readonly readsRenewals: boolean;
  /** The calls routed to the link, over all its handles. */
  readonly usage: { calls: number; readonly maxCalls: number };
  /** Answers the host. Takes over the bytes. */
  answer(frame: Uint8Array): void;
  /** Passes on what the device sends. Returns false when the host reads too slowly for as much of this device. */
  forward(frame: Uint8Array): boolean;
  /** The device is gone. Reports it to the host. */
  lost(reason: LostReason): void;
}

/** Where the answers to a call or exchange go. Ends with it. */
interface CallRoute {
  readonly handle: DeviceHandle;
  usedAtMs: number;
}

export interface LiveDeviceOptions {
  readonly lease: Lease;
  readonly socket: Socket;
  readonly limits: DeviceLimits;
  readonly tenant: TenantUsage;
  readonly metrics: RoutingMetrics;
  readonly backlog: Backlog;
  readonly session: { cut(reason: 'slow' | 'superseded' | 'flooding' | 'revoked'): void };
  /** When the credential was issued by which the device is here; undefined when it does not say. */
  readonly issuedAtMs?: number | undefined;
  readonly opened: OpenedFields;
}

/** A device with a lease, as routing sees it: the handles open on it and the calls it runs. */
export class LiveDevice {
  readonly epoch: number;
  readonly #options: LiveDeviceOptions;
  /** Allocated lazily, as are the routes: no host has opened most devices of a pod. */
  #handles: Set<DeviceHandle> | undefined;
  /** By call id. */
  #routes: Map<string, CallRoute> | undefined;
  /** The numbers under which hosts were introduced to a device that wants to know them. */
  #hostNumbers: Map<string, number> | undefined;
  #opened: OpenedFields;
  #lease: Lease;
  #issuedAtMs: number | undefined;

  constructor(options: LiveDeviceOptions) {
    this.#lease = options.lease;
    this.epoch = options.lease.epoch;
    this.#options = options;
    this.#opened = options.opened;
    this.#issuedAtMs = options.issuedAtMs;
  }

  /** When the credential was issued by which the device is here now. */
  get issuedAtMs(): number | undefined {
    return this.#issuedAtMs;
  }

  get lease(): Lease {
    return this.#lease;
  }

  /** bridge.v1.Catalog, encoded. */
  get catalog(): Uint8Array {
    return this.#opened.catalog;
  }

  get calls(): number {
    return this.#routes?.size ?? 0;
  }

  /** The handle hears of the device until either is gone. */
  open(handle: DeviceHandle): void {
    this.#handles ??= new Set();
    this.#handles.add(handle);
    handle.answer(openedFrame(handle.number, this.#opened));
  }

  close(handle: DeviceHandle): void {
    this.#handles?.delete(handle);
    this.#deleteRoutes((route) => route.handle === handle);
  }

  changeCatalog(catalog: Uint8Array): void {
    this.#lease = { ...this.#lease, catalogDigest: digestOfCatalog(catalog) };
    this.#opened = { ...this.#opened, catalog };
    for (const handle of [...(this.#handles ?? [])]) {
      this.#forward(handle, openedFrame(handle.number, this.#opened));
    }
  }

  /** Hosts that hold a handle are sent it, if they know that a connection's credential may change. */
  changeCredential(credential: string, issuedAtMs: number | undefined): void {
    this.#issuedAtMs = issuedAtMs;
    this.#opened = { ...this.#opened, credential };
    for (const handle of [...(this.#handles ?? [])]) {
      if (!handle.readsRenewals) continue;
      this.#forward(handle, openedFrame(handle.number, this.#opened));
    }
  }

  /** Another session of the same device has a newer lease. */
  supersede(): void {
    this.#options.session.cut('superseded');
  }

  /** Its credential no longer counts. */
  revoke(): void {
    this.#options.session.cut('revoked');
  }

  /** The socket is closed. */
  gone(reason: LostReason): void {
    const handles = [...(this.#handles ?? [])];
    for (const handle of handles) this.close(handle);
    for (const handle of handles) handle.lost(reason);
    this.#options.backlog.forget('device', this.#options.socket);
  }

  /** Forwards a canonical frame of kinds 32 to 47 and of this epoch. Writes to the frame. */
  fromHost(handle: DeviceHandle, frame: Uint8Array, nowMs: number): void {
    const { tenant, metrics, socket, limits, backlog } = this.#options;
    tenant.share.noteActive();
    const kind = kindOf(frame);
    const callKey = callKeyOf(frame);
    const route = this.#routes?.get(callKey);
    const opensRoute = OPENING_KINDS.has(kind);
    if (route !== undefined && !mayUse(route, handle, opensRoute)) {
      metrics.refused('host', 'identity.forbidden');
      return;
    }
    if (!opensRoute && route !== undefined) {
      if (kind === FrameKind.ACK) this.#unbind(callKey, handle);
      else route.usedAtMs = nowMs;
    }
    const mayPass =
      tenant.fromHosts.take(frame.length, nowMs) &&
      (!opensRoute || this.#bind(callKey, handle, nowMs));
    if (!mayPass) {
      metrics.refused('host', 'limit.exceeded');
      // The host retries with backoff. A frame of another kind is made good by its RESUME.
      if (opensRoute) handle.answer(busyFrame(handle.number, frame, this.#opened));
      return;
    }
    setDevice(frame, this.#hostNumber(handle));
    metrics.passed('host', frame.length);
    const queuedBytes = socket.send(frame);
    if (queuedBytes === 0) return;
    backlog.note('device', socket);
    if (queuedBytes > limits.maxQueueBytes) this.#options.session.cut('slow');
  }

  /** Forwards a canonical frame of kinds 48 to 63. Writes to the frame. */
  fromDevice(frame: Uint8Array, nowMs: number): void {
    const { metrics } = this.#options;
    const callKey = callKeyOf(frame);
    const route = this.#routes?.get(callKey);
    if (route === undefined) {
      metrics.refused('device', 'request.invalid');
      return;
    }
    const { handle } = route;
    const kind = kindOf(frame);
    if (CLOSING_KINDS.has(kind)) {
      this.#unbind(callKey, handle);
    } else {
      route.usedAtMs = nowMs;
    }
    setDevice(frame, handle.number);
    metrics.passed('device', frame.length);
    this.#forward(handle, frame);
  }

  forgetUnusedRoutes(nowMs: number): void {
    const beforeMs = nowMs - ROUTE_IDLE_MS;
    this.#deleteRoutes((route) => route.usedAtMs < beforeMs);
  }

  /** Introduces a host to the device before its first frame. */
  #hostNumber({ hostName }: DeviceHandle): number {
    if (!this.#opened.deviceFeatures.includes(HOSTS_FEATURE)) return 0;
    this.#hostNumbers ??= new Map();
    const known = this.#hostNumbers.get(hostName);
    if (known !== undefined) return known;
    const number = this.#hostNumbers.size + 1;
    this.#hostNumbers.set(hostName, number);
    this.#options.socket.send(hostFrame(number, hostName));
    return number;
  }

  #forward(handle: DeviceHandle, frame: Uint8Array): void {
    if (!handle.forward(frame)) this.#options.session.cut('flooding');
  }

  #bind(callKey: string, handle: DeviceHandle, nowMs: number): boolean {
    const route = this.#routes?.get(callKey);
    if (route?.handle === handle) {
      route.usedAtMs = nowMs;
      return true;
    }
    const { tenant, limits } = this.#options;
    const { usage } = handle;
    const isNew = route === undefined;
    if (isNew && (this.calls >= limits.maxCalls || tenant.calls >= tenant.limits.maxCalls)) {
      return false;
    }
    if (route?.handle.usage !== usage && usage.calls >= usage.maxCalls) return false;
    // A call that is resumed over another link is routed there from now on.
    if (!isNew) this.#unbind(callKey, route.handle);
    this.#routes ??= new Map();
    this.#routes.set(callKey, { handle, usedAtMs: nowMs });
    tenant.calls += 1;
    usage.calls += 1;
    return true;
  }

  #unbind(callKey: string, handle: DeviceHandle): void {
    this.#routes?.delete(callKey);
    handle.usage.calls -= 1;
    this.#options.tenant.calls -= 1;
  }

  #deleteRoutes(isOver: (route: CallRoute) => boolean): void {
    for (const [callKey, route] of this.#routes ?? []) {
      if (isOver(route)) this.#unbind(callKey, route.handle);
    }
  }
}

/** A host may resume its call over another link; another host may not touch it. */
function mayUse(route: CallRoute, handle: DeviceHandle, opensRoute: boolean): boolean {
  return opensRoute ? route.handle.hostName === handle.hostName : route.handle === handle;
}
