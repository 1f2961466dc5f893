import { fromUnknown, ZlError } from '@zerolatency/errors';
import { callKey, type Frame, FrameKind, readMessage } from '@zerolatency/frame';
import { type Opened, OpenedSchema } from '@zerolatency/proto/link';
import { Backoff } from '@zerolatency/service/backoff';
import type {
  DeviceConnection,
  DeviceRoute,
  RouteUser,
} from '../../executors/device/remote-call.ts';
import type { RelayLimits } from './limits.ts';
import type { DeviceLocator, LocatedRelay } from './locator.ts';
import {
  type Hop,
  isSameConnection,
  type OpenedDevice,
  Opening,
  OTHER_CONNECTION,
} from './opening.ts';
import type { CredentialCheck, LinkPool } from './relay-client.ts';

/**
 *   idle -> locating -> opening -> up -> waiting -> locating ...
 *
 * Every failure leads to waiting; from there the route goes on if anyone still
 * needs it.
 */
type RouteState =
  | { readonly name: 'idle' }
  | { readonly name: 'locating'; readonly abort: AbortController }
  | { readonly name: 'opening'; readonly hop: Hop; readonly opening: Opening }
  | {
      readonly name: 'up';
      readonly hop: Hop;
      device: OpenedDevice;
      connection: DeviceConnection;
      /** The last OPENED; its credential may still be under check. */
      newest: Opened;
    }
  | { readonly name: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'closed' };

type Up = Extract<RouteState, { name: 'up' }>;

const CLOSED = new ZlError('server.draining', 'the route to the device is closed');

export interface RelayRouteOptions {
  readonly tenant: string;
  readonly deviceId: string;
  readonly locator: DeviceLocator;
  readonly links: LinkPool;
  readonly checkCredential: CredentialCheck;
  readonly limits: RelayLimits;
  /** The clock of the device's journal was read. */
  readonly onClock: (journalMs: number) => void;
  /** The route is closed because nobody used it for a while. */
  readonly onIdle: () => void;
}

/** The route to one device: its relay pod, its handle on that link, its epoch. */
export class RelayRoute implements DeviceRoute {
  readonly #options: RelayRouteOptions;
  readonly #users = new Map<string, RouteUser>();
  readonly #waiters = new RouteWaiters();
  #state: RouteState = { name: 'idle' };
  readonly #backoff: Backoff;
  #idleTimer: NodeJS.Timeout | undefined;
  #lostAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: RelayRouteOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.limits.retry);
    this.#relax();
  }

  get connection(): DeviceConnection | undefined {
    return this.#state.name === 'up' ? this.#state.connection : undefined;
  }

  get needed(): boolean {
    return this.#users.size > 0 || this.#waiters.size > 0;
  }

  async ready(signal: AbortSignal): Promise<DeviceConnection> {
    if (this.#state.name === 'up') return this.#state.connection;
    if (this.#state.name === 'closed') throw CLOSED;
    if (signal.aborted) throw fromUnknown(signal.reason);
    const waitMs = Math.max(this.#options.limits.connectWaitMs, this.#returningMs);
    const ready = this.#waiters.add(signal, waitMs);
    this.#need();
    try {
      return await ready;
    } finally {
      this.#relax();
    }
  }

  attach(callId: string, user: RouteUser): void {
    this.#users.set(callId, user);
    this.#need();
    if (this.#state.name === 'up') user.onRouteUp(this.#state.connection);
  }

  detach(callId: string): void {
    this.#users.delete(callId);
    this.#relax();
  }

  send(frame: Frame): void {
    if (this.#state.name === 'up') this.#state.hop.link.send(frame);
  }

  /** The device may have been revoked since its credential was checked. */
  recheck(): void {
    const fault = this.#state.name === 'up' ? this.#state.device.credential.fault() : undefined;
    if (fault !== undefined) this.#lose(fault);
  }

  close(): void {
    this.#leave();
    clearTimeout(this.#idleTimer);
    this.#state = { name: 'closed' };
    this.#waiters.rejectAll(CLOSED);
    this.#reportLost();
  }

  /** How long the device may still be expected back, if it was just here, or behind a relay that was. */
  get #returningMs(): number {
    const { links, limits, locator, tenant, deviceId } = this.#options;
    const relayId = locator.lastRelayId(tenant, deviceId);
    const lostAtMs = Math.max(
      this.#lostAtMs,
      relayId === undefined ? Number.NEGATIVE_INFINITY : links.lostAtMs(relayId),
    );
    return Math.max(0, lostAtMs + limits.reconnectWaitMs - performance.now());
  }

  #need(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    if (this.#state.name === 'idle') this.#locate();
  }

  #relax(): void {
    if (this.needed || this.#idleTimer !== undefined || this.#state.name === 'closed') return;
    this.#idleTimer = setTimeout(() => {
      this.close();
      this.#options.onIdle();
    }, this.#options.limits.routeIdleMs);
    this.#idleTimer.unref();
  }

  #locate(): void {
    const { locator, tenant, deviceId } = this.#options;
    const cached = locator.cached(tenant, deviceId);
    if (cached !== undefined) {
      this.#open(cached);
      return;
    }
    const state: RouteState = { name: 'locating', abort: new AbortController() };
    this.#state = state;
    locator.locate(tenant, deviceId, state.abort.signal).then(
      (owner) => {
        if (this.#state === state) this.#open(owner);
      },
      (error: ZlError) => {
        if (this.#state === state) this.#refused(error);
      },
    );
  }

  #open(owner: LocatedRelay): void {
    const { links, tenant, deviceId } = this.#options;
    const link = links.to(owner);
    if ('error' in link) {
      this.#lose(link.error);
      return;
    }
    const attached = link.attach({
      tenant,
      deviceId,
      onFrame: (frame) => this.#onFrame(frame),
      onLost: (reason) => this.#lose(reason),
    });
    if ('error' in attached) {
      this.#lose(attached.error, attached.retryInMs);
      return;
    }
    const hop = { link, handle: attached.handle };
    const opening = new Opening({
      ...this.#options,
      ...{ owner, hop },
      onOpen: (device) => this.#up(hop, device),
      onFailed: (error) => this.#lose(error),
    });
    this.#state = { name: 'opening', hop, opening };
  }

  #onFrame(frame: Frame): void {
    const state = this.#state;
    if (frame.kind === FrameKind.OPENED) {
      const opened = readMessage(OpenedSchema, frame.payload);
      if (opened !== undefined) this.#onOpened(opened);
      else this.#lose(new ZlError('frame.malformed', 'OPENED cannot be read'));
      return;
    }
    const user = this.#users.get(callKey(frame.callId));
    if (user !== undefined) user.onFrame(frame);
    else if (state.name === 'opening') state.opening.hear(frame);
    else if (state.name === 'up') state.device.clock?.hear(frame);
  }

  #onOpened(opened: Opened): void {
    const state = this.#state;
    if (state.name === 'opening') {
      state.opening.onOpened(opened);
    } else if (state.name === 'up') {
      state.newest = opened;
      const { device } = state;
      if (!isSameConnection(device.opened, opened)) this.#lose(OTHER_CONNECTION);
      else if (opened.credential === device.opened.credential) change(state, { ...device, opened });
      else void this.#takeOver(state, opened);
    }
  }

  /** The device has renewed its credential: calls go on if it is for the key that signs their receipts. */
  async #takeOver(state: Up, opened: Opened): Promise<void> {
    const { checkCredential, tenant, deviceId } = this.#options;
    const credential = await checkCredential(opened.credential, { tenant, deviceId });
    if (this.#state !== state || state.newest !== opened) return;
    if ('error' in credential) {
      this.#lose(credential.error);
      return;
    }
    const { device } = state;
    const isSameKey = credential.verifier.keyid === device.credential.verifier.keyid;
    const fault = isSameKey ? credential.fault() : OTHER_CONNECTION;
    if (fault === undefined) change(state, { ...device, opened, credential });
    else this.#lose(fault);
  }

  #up(hop: Hop, device: OpenedDevice): void {
    const connection = connectionOf(hop, device);
    this.#backoff.reset();
    this.#state = { name: 'up', hop, device, connection, newest: device.opened };
    this.#waiters.resolveAll(connection);
    for (const user of [...this.#users.values()]) user.onRouteUp(connection);
  }

  #lose(reason: ZlError, atLeastMs = 0): void {
    if (this.#state.name === 'closed') return;
    const { locator, tenant, deviceId } = this.#options;
    const state = this.#state;
    const up = state.name === 'up' ? state : undefined;
    if (up !== undefined) this.#lostAtMs = performance.now();
    const isDenied = state.name === 'opening' && state.hop.link.isUp;
    this.#leave();
    locator.doubt(tenant, deviceId, isDenied ? 'denied' : 'lost');
    // A relay that is still there says so: the directory may already know the next one.
    const isTold = up?.hop.link.isUp === true;
    this.#retry(reason, isTold ? 0 : Math.max(atLeastMs, this.#backoff.nextMs()));
    if (up !== undefined) this.#reportLost();
  }

  /** The directory knows who is connected, so another try would find the same. */
  #refused(reason: ZlError): void {
    const { locator, tenant, deviceId } = this.#options;
    const isAnswer =
      reason.id === 'device.revoked' || (reason.id === 'device.offline' && this.#returningMs === 0);
    if (isAnswer) {
      locator.forget(tenant, deviceId);
      this.#waiters.rejectAll(reason);
    }
    if (isAnswer && !this.needed) this.#goOn();
    else this.#retry(reason, this.#backoff.nextMs());
  }

  #retry(reason: ZlError, waitMs: number): void {
    this.#waiters.failed(forClients(reason));
    this.#state = { name: 'waiting', timer: setTimeout(() => this.#goOn(), waitMs) };
  }

  #goOn(): void {
    this.#state = { name: 'idle' };
    if (this.needed) {
      this.#locate();
    } else {
      this.#backoff.reset();
      this.#relax();
    }
  }

  #leave(): void {
    const state = this.#state;
    if (state.name === 'locating') state.abort.abort();
    if (state.name === 'opening') state.opening.close();
    if (state.name === 'waiting') clearTimeout(state.timer);
    if ('hop' in state) state.hop.link.detach(state.hop.handle);
    this.#state = { name: 'idle' };
  }

  #reportLost(): void {
    for (const user of [...this.#users.values()]) user.onRouteLost();
  }
}

/** The addresses of relays, and what they answered, are for the log. */
function forClients(error: ZlError): ZlError {
  if (error.id !== 'relay.unreachable') return error;
  const message = 'the relay of the device cannot be reached';
  return new ZlError('relay.unreachable', message, { cause: error });
}

function change(state: Up, device: OpenedDevice): void {
  state.device = device;
  state.connection = connectionOf(state.hop, device);
}

/** The public key is the one in the verified credential of the same message. */
function connectionOf(hop: Hop, { opened, credential, clock }: OpenedDevice): DeviceConnection {
  return {
    ...(clock && { journalNowMs: () => clock.nowMs() }),
    device: hop.handle,
    epoch: Number(opened.epoch),
    journalId: opened.journalId,
    servers: opened.catalog?.servers ?? [],
    credential: opened.credential,
    verifier: credential.verifier,
    features: opened.deviceFeatures.filter((name) => opened.relayFeatures.includes(name)),
  };
}

/** Another try would end the same. */
const FINAL = /^(device\.(unknown|credential_invalid|revoked)$|identity\.)/;

/** Those who wait for a route to come up before anything of theirs was sent. */
class RouteWaiters {
  readonly #waiters = new Set<PromiseWithResolvers<DeviceConnection>>();
  #last: ZlError | undefined;

  get size(): number {
    return this.#waiters.size;
  }

  async add(signal: AbortSignal, waitMs: number): Promise<DeviceConnection> {
    const waiter = Promise.withResolvers<DeviceConnection>();
    const onAbort = () => waiter.reject(fromUnknown(signal.reason));
    const timer = setTimeout(() => {
      const silent = new ZlError('relay.unreachable', `no relay answered within ${waitMs} ms`);
      waiter.reject(this.#last ?? silent);
    }, waitMs);
    signal.addEventListener('abort', onAbort);
    this.#waiters.add(waiter);
    try {
      return await waiter.promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#waiters.delete(waiter);
    }
  }

  resolveAll(connection: DeviceConnection): void {
    this.#last = undefined;
    for (const waiter of this.#waiters) waiter.resolve(connection);
  }

  rejectAll(error: ZlError): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }

  /** One try failed. Waiting goes on where the next try may find a device that is just reconnecting. */
  failed(error: ZlError): void {
    this.#last = error;
    if (FINAL.test(error.id)) this.rejectAll(error);
  }
}
