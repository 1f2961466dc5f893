import { ZlError } from '@zerolatency/errors';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import type { Opened } from '@zerolatency/proto/link';
import type { DeviceRoute, DeviceSession, RouteUser } from '../../tools/ports.ts';
import { backoffMs } from './backoff.ts';
import type { CredentialCheck } from './credential.ts';
import type { Directory, Owner } from './directory.ts';
import type { RelayLimits } from './limits.ts';
import type { Link } from './link.ts';
import type { LinkPool } from './link-pool.ts';
import { decodeOpened, sessionOf } from './opened.ts';
import { RouteWaiters } from './route-waiters.ts';

export interface RelayRouteOptions {
  readonly tenant: string;
  readonly deviceId: string;
  readonly directory: Directory;
  readonly links: LinkPool;
  readonly checkCredential: CredentialCheck;
  readonly limits: RelayLimits;
  readonly random: () => number;
  /** Nobody used the route for a while and it is closed. */
  readonly onIdle: () => void;
}

/**
 *   idle -> locating -> opening -> up -> waiting -> locating ...
 *
 * Anything that goes wrong leads to waiting; whether it goes on from there is
 * decided by whether anyone still needs the route.
 */
type RouteState =
  | { readonly name: 'idle' }
  | { readonly name: 'locating'; readonly abort: AbortController }
  | { readonly name: 'opening'; readonly owner: Owner; readonly timer: NodeJS.Timeout; hop?: Hop }
  | { readonly name: 'up'; readonly hop: Hop; readonly owner: Owner; session: DeviceSession }
  | { readonly name: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'closed' };

interface Hop {
  readonly link: Link;
  readonly handle: number;
}

/** The way to one device: which relay pod, which handle on its link, since which epoch. */
export class RelayRoute implements DeviceRoute {
  readonly #options: RelayRouteOptions;
  readonly #users = new Map<string, RouteUser>();
  readonly #waiters: RouteWaiters;
  #state: RouteState = { name: 'idle' };
  #failures = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: RelayRouteOptions) {
    this.#options = options;
    this.#waiters = new RouteWaiters({
      waitMs: options.limits.connectWaitMs,
      onEmpty: () => this.#relax(),
    });
  }

  get session(): DeviceSession | undefined {
    return this.#state.name === 'up' ? this.#state.session : undefined;
  }

  get needed(): boolean {
    return this.#users.size > 0 || this.#waiters.size > 0;
  }

  /** Rejects with what kept the device from being reached. */
  ready(signal: AbortSignal): Promise<DeviceSession> {
    if (this.#state.name === 'up') return Promise.resolve(this.#state.session);
    if (this.#state.name === 'closed')
      return Promise.reject(new ZlError('server.draining', 'the route to the device is closed'));
    const ready = this.#waiters.add(signal);
    this.#need();
    return ready;
  }

  attach(callId: string, user: RouteUser): void {
    this.#users.set(callId, user);
    this.#need();
    if (this.#state.name === 'up') user.onRouteUp(this.#state.session);
  }

  detach(callId: string): void {
    this.#users.delete(callId);
    this.#relax();
  }

  send(frame: Frame): void {
    if (this.#state.name === 'up') this.#state.hop.link.send(frame);
  }

  close(): void {
    this.#leave();
    clearTimeout(this.#idleTimer);
    this.#state = { name: 'closed' };
    this.#waiters.rejectAll(new ZlError('server.draining', 'the route to the device is closed'));
    this.#tellLost();
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
    const { directory, tenant, deviceId } = this.#options;
    const cached = directory.cached(tenant, deviceId);
    if (cached !== undefined) {
      this.#open(cached);
      return;
    }
    const state: RouteState = { name: 'locating', abort: new AbortController() };
    this.#state = state;
    directory.locate(tenant, deviceId, state.abort.signal).then(
      (owner) => {
        if (this.#state === state) this.#open(owner);
      },
      (error: ZlError) => {
        if (this.#state === state) this.#retry(error);
      },
    );
  }

  #open(owner: Owner): void {
    const { links, limits, tenant, deviceId } = this.#options;
    const timer = setTimeout(
      () =>
        this.#lose(new ZlError('relay.unreachable', `${owner.relayId} does not open the device`)),
      limits.dialTimeoutMs,
    );
    const state: RouteState & { name: 'opening' } = { name: 'opening', owner, timer };
    this.#state = state;
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
    if ('error' in attached) this.#lose(attached.error, attached.retryInMs);
    else state.hop = { link, handle: attached.handle };
  }

  #onFrame(frame: Frame): void {
    if (frame.kind !== FrameKind.OPENED) {
      this.#users.get(callKey(frame.callId))?.onFrame(frame);
      return;
    }
    const opened = decodeOpened(frame.payload);
    if ('error' in opened) this.#lose(opened.error);
    else this.#onOpened(opened);
  }

  #onOpened(opened: Opened): void {
    const state = this.#state;
    if (state.name !== 'opening' && state.name !== 'up') return;
    const { hop, owner } = state;
    if (hop === undefined) return;
    const epoch = Number(opened.epoch);
    if (epoch < owner.epoch || (state.name === 'up' && epoch < state.session.epoch)) {
      // A stalled old owner; the directory names the newer one.
      this.#lose(new ZlError('device.offline', `${owner.relayId} holds an old lease`));
      return;
    }
    if (state.name === 'up' && state.session.credential === opened.credential) {
      this.#renew(state, opened);
      return;
    }
    const { checkCredential, tenant, deviceId } = this.#options;
    checkCredential(opened.credential, { tenant, deviceId }).then((verified) => {
      if (this.#state !== state) return;
      if ('error' in verified) this.#lose(verified.error);
      else this.#up(hop, owner, sessionOf(opened, hop.handle, verified.verifier));
    });
  }

  /** The same device on the same handle: a changed catalog, or its reconnection to the same pod. */
  #renew(state: RouteState & { name: 'up' }, opened: Opened): void {
    const session = sessionOf(opened, state.hop.handle, state.session.verifier);
    if (session.epoch === state.session.epoch) state.session = session;
    else this.#up(state.hop, state.owner, session);
  }

  #up(hop: Hop, owner: Owner, session: DeviceSession): void {
    if (this.#state.name === 'up') this.#tellLost();
    if (this.#state.name === 'opening') clearTimeout(this.#state.timer);
    this.#failures = 0;
    this.#state = { name: 'up', hop, owner, session };
    this.#waiters.resolveAll(session);
    for (const user of [...this.#users.values()]) user.onRouteUp(session);
  }

  #lose(reason: ZlError, atLeastMs = 0): void {
    if (this.#state.name === 'closed') return;
    const { directory, tenant, deviceId } = this.#options;
    const wasUp = this.#state.name === 'up';
    this.#leave();
    directory.forget(tenant, deviceId);
    this.#retry(reason, atLeastMs);
    if (wasUp) this.#tellLost();
  }

  #retry(reason: ZlError, atLeastMs = 0): void {
    this.#waiters.failed(reason);
    const { limits, random } = this.#options;
    const { retryStartMs: startMs, retryCapMs: capMs } = limits;
    const waitMs = Math.max(atLeastMs, backoffMs({ startMs, capMs, random }, this.#failures));
    this.#failures += 1;
    const timer = setTimeout(() => {
      this.#state = { name: 'idle' };
      if (this.needed) {
        this.#locate();
        return;
      }
      this.#failures = 0;
      this.#relax();
    }, waitMs);
    this.#state = { name: 'waiting', timer };
  }

  /** Gives up whatever the present state holds. */
  #leave(): void {
    const state = this.#state;
    if (state.name === 'locating') state.abort.abort();
    if (state.name === 'opening' || state.name === 'waiting') clearTimeout(state.timer);
    if (state.name === 'opening' || state.name === 'up') state.hop?.link.detach(state.hop.handle);
    this.#state = { name: 'idle' };
  }

  #tellLost(): void {
    for (const user of [...this.#users.values()]) user.onRouteLost();
  }
}
