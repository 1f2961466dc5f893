import { randomBytes } from 'node:crypto';
import { fromUnknown } from '@zerolatency/errors';
import { decodeFrame, FrameKind, REDIRECT_FEATURE, RENEWAL_FEATURE } from '@zerolatency/frame';
import type { LogThrottle } from '@zerolatency/service/telemetry';
import type { DeviceLimits } from '../config.ts';
import { type Directory, digestOfCatalog, type Lease } from '../directory/directory.ts';
import type { Backlog } from '../limits/backlog.ts';
import { type Heartbeat, MAX_MISSED_BEATS, type Pulse } from '../limits/heartbeat.ts';
import { HelloAllowance, type LargeHellos } from '../limits/hello-allowance.ts';
import type { PauseReason } from '../limits/pace.ts';
import type { Clock, Log } from '../ports.ts';
import type { RoutingMetrics } from '../routing/live-device.ts';
import type { LiveDevices } from '../routing/live-devices.ts';
import {
  canonicalFrame,
  challengeFrame,
  drainFrame,
  redirectFrame,
  welcomeFrame,
} from '../routing/relay-frames.ts';
import type { Movable } from '../sharding/moves.ts';
import type { ShardedDevice } from '../sharding/shard-of.ts';
import type { Shards } from '../sharding/shards.ts';
import type {
  ArrivalEnd,
  Socket,
  SocketEndReason,
  SocketListener,
} from '../sockets/socket-engine.ts';
import * as disconnects from './disconnect.ts';
import { type Hello, type HelloVerifier, type ProvedDevice, readHello } from './hello.ts';
import { LiveSession } from './live-session.ts';
import type { RevocationCheck } from './revocation-sweep.ts';
import type { Renewer } from './session-renewal.ts';
import { type SessionEvent, type SessionState, transition } from './session-state.ts';

const NONCE_BYTES = 32;
/** The rate of the moves spreads them already. */
const MOVE_WITHIN_MS = 500;

export interface SessionMetrics extends RoutingMetrics {
  redirected(from: 'hello' | 'live'): void;
  /** A live device went after it was told to. */
  moved(): void;
  sessionEnded(reason: disconnects.SessionEnd): void;
  readsPaused(limit: PauseReason, ms: number): void;
}

/** What all device sessions of a pod share. */
export interface SessionContext {
  readonly relayId: string;
  readonly limits: DeviceLimits;
  readonly maxFrameBytes: number;
  readonly heartbeatMs: number;
  readonly devices: LiveDevices;
  readonly verifier: HelloVerifier;
  readonly revocations: RevocationCheck;
  readonly shards: Shards;
  /** Undefined where the relay knows no registrar. */
  readonly renewer?: Renewer | undefined;
  readonly directory: Pick<Directory, 'acquire' | 'withdraw' | 'renew' | 'release'>;
  readonly heartbeat: Heartbeat;
  readonly backlog: Backlog;
  readonly largeHellos: LargeHellos;
  readonly clock: Clock;
  readonly metrics: SessionMetrics;
  readonly log: Log;
  /** For sessions that end before they are live. */
  readonly logThrottle: LogThrottle;
}

export interface SessionObserver {
  onLive(): void;
  /** Called once, also when the socket never opened. */
  onGone(session: DeviceSession, wasLive: boolean): void;
}

/** One device socket, from its challenge to its end. */
export class DeviceSession implements SocketListener, Pulse, Movable {
  readonly #context: SessionContext;
  readonly #observer: SessionObserver;
  #state: SessionState = { name: 'challenged', nonce: randomBytes(NONCE_BYTES) };
  #socket: Socket | undefined;
  #live: LiveSession | undefined;
  readonly #helloAllowance: HelloAllowance;
  #slot = 0;
  #isMoving = false;
  #missedBeats = 0;

  constructor(context: SessionContext, observer: SessionObserver) {
    this.#context = context;
    this.#observer = observer;
    this.#helloAllowance = new HelloAllowance(context.largeHellos, () =>
      this.end(disconnects.EVICTED),
    );
  }

  get state(): SessionState['name'] {
    return this.#state.name;
  }

  /** The calls routed to the device. */
  get calls(): number {
    return this.#live?.device.calls ?? 0;
  }

  onOpen(socket: Socket): void {
    const { relayId } = this.#context;
    if (this.#state.name !== 'challenged') {
      // The session ended during the upgrade.
      socket.terminate();
      return;
    }
    this.#socket = socket;
    socket.send(challengeFrame(this.#state.nonce, relayId));
  }

  onAbandoned(): void {
    this.end(disconnects.bySocket('closed'));
  }

  onRead(bytes: number): void {
    const mayRead = this.#live?.takeRead(bytes) ?? this.#helloAllowance.takeRead(bytes);
    if (!mayRead) this.end(this.#overAllowance());
  }

  onControl(kind: 'ping' | 'pong'): void {
    if (kind === 'pong') this.#missedBeats = 0;
    const mayTake = this.#live?.takeControl() ?? this.#helloAllowance.takeFrame();
    if (!mayTake) this.end(this.#overAllowance());
  }

  onEnd(end: SocketEndReason): void {
    this.#socket = undefined;
    this.end(disconnects.bySocket(end));
  }

  onMessage(bytes: Buffer): void {
    this.#missedBeats = 0;
    const mayTake = this.#live?.takeMessage() ?? this.#helloAllowance.takeFrame();
    if (!mayTake) {
      this.end(this.#overAllowance());
      return;
    }
    const frame = canonicalFrame(bytes, this.#context.maxFrameBytes);
    if (frame === undefined) {
      this.end(disconnects.malformed('the message is not a frame'));
      return;
    }
    const disconnect = this.#live === undefined ? this.#onHello(frame) : this.#live.receive(frame);
    if (disconnect !== undefined) this.end(disconnect);
  }

  beat(): void {
    const { clock } = this.#context;
    if (this.#live?.isPaused) this.#missedBeats = 0;
    if (this.#missedBeats >= MAX_MISSED_BEATS) {
      this.end(disconnects.SILENT);
    } else if ('expiresAtMs' in this.#state && clock.unixMs() >= this.#state.expiresAtMs) {
      this.end(disconnects.EXPIRED);
    } else {
      this.#missedBeats += 1;
      this.#socket?.ping();
      this.#live?.device.forgetUnusedRoutes(clock.monotonicMs());
    }
  }

  cut(reason: disconnects.Cut): void {
    this.end(disconnects.CUTS[reason]);
  }

  /** The device goes on under a new credential. */
  renewed({ expiresAtMs }: ProvedDevice): void {
    this.#apply({ type: 'renewed', expiresAtMs });
  }

  /** Returns false when the session is over already. */
  endUnproved(why: ArrivalEnd): boolean {
    if (this.#state.name === 'gone' || this.#socket === undefined) return false;
    this.end(why === 'late' ? disconnects.TOO_LATE : disconnects.EVICTED);
    return true;
  }

  /** Calls go on while a live device moves to another pod. */
  drain(closeAfterMs: number): void {
    if (this.#apply({ type: 'drain' })) this.#socket?.send(drainFrame(closeAfterMs));
  }

  get device(): ShardedDevice | undefined {
    return this.#live?.device.lease;
  }

  get movable(): ShardedDevice | undefined {
    const lease = this.#state.name === 'live' ? this.#live?.device.lease : undefined;
    return lease?.features.includes(REDIRECT_FEATURE) ? lease : undefined;
  }

  /** The device stays live: it goes once the other pod has welcomed it, or not at all. */
  move(url: string): void {
    this.#isMoving = true;
    this.#socket?.send(redirectFrame(url, MOVE_WITHIN_MS));
    this.#context.metrics.redirected('live');
  }

  end(disconnect: disconnects.Disconnect): void {
    const wasDraining = this.#state.name === 'draining';
    if (!this.#apply({ type: 'ended', end: disconnect.end })) return;
    this.#helloAllowance.close();
    const socket = this.#socket;
    const live = this.#live;
    this.#socket = undefined;
    this.#live = undefined;
    if (disconnect.code === undefined) socket?.terminate();
    else socket?.close(disconnect.code, disconnect.error?.id ?? '');
    if (live !== undefined) {
      this.#context.heartbeat.leave(this, this.#slot);
      const hasMoved = this.#isMoving && disconnect.end === 'disconnected';
      if (hasMoved) this.#context.metrics.moved();
      // It is live at another pod, as if it had connected again.
      live.end(disconnects.lostReason(hasMoved ? 'superseded' : disconnect.end, wasDraining));
    }
    this.#report(disconnect, live?.device.lease);
    this.#observer.onGone(this, live !== undefined);
  }

  #overAllowance(): disconnects.Disconnect {
    return this.#live === undefined ? disconnects.NOT_A_HELLO : disconnects.TOO_FAST;
  }

  #onHello(bytes: Uint8Array): disconnects.Disconnect | undefined {
    const { frame } = decodeFrame(bytes);
    if (frame?.kind !== FrameKind.HELLO)
      return disconnects.malformed('the first frame is not a hello');
    const read = readHello(frame.payload, this.#context.limits);
    if ('error' in read) return disconnects.unreadable(read.error);
    const { hello } = read;
    const nonce = this.#state.name === 'challenged' ? this.#state.nonce : undefined;
    if (nonce === undefined || !this.#apply({ type: 'hello', hello })) {
      return disconnects.malformed('a second hello arrived');
    }
    this.#prove(hello, nonce).catch((reason: unknown) => {
      this.#context.log.error({ err: reason }, 'hello could not be verified');
      this.end(disconnects.refused(fromUnknown(reason)));
    });
    return undefined;
  }

  async #prove(hello: Hello, nonce: Uint8Array): Promise<void> {
    const { verifier, revocations, devices } = this.#context;
    const { credential, proof } = hello;
    const device = await verifier.verify({ credential, proof, nonce });
    if ('error' in device) {
      this.end(disconnects.refused(device.error));
      return;
    }
    if (!this.#apply({ type: 'proof_held', device })) return;
    // Before the lease, so that a device that is refused keeps its socket on another pod.
    const fault = revocations.fault(device);
    if (fault !== undefined) {
      this.end(disconnects.refused(fault));
      return;
    }
    if (this.#redirect(hello, device)) return;
    const place = devices.reserve(device);
    if (place === undefined) {
      this.end(disconnects.TENANT_FULL);
      return;
    }
    try {
      await this.#takeLease(hello, device);
    } finally {
      // A live device has its own.
      place.release();
    }
  }

  /** Before the lease, so that the device keeps the one it may have elsewhere. */
  #redirect(hello: Hello, device: ProvedDevice): boolean {
    const { shards, metrics } = this.#context;
    if (hello.noRedirect || !hello.features.includes(REDIRECT_FEATURE)) return false;
    const url = shards.elsewhere(device);
    if (url === undefined) return false;
    this.#socket?.send(redirectFrame(url, 0));
    metrics.redirected('hello');
    this.end(disconnects.REDIRECTED);
    return true;
  }

  async #takeLease(hello: Hello, device: ProvedDevice): Promise<void> {
    const { directory, devices, revocations, clock } = this.#context;
    const { bridgeVersion, features, catalog, lastEpoch } = hello;
    const description = {
      connectedUnixMs: clock.unixMs(),
      bridgeVersion,
      features,
      transport: this.#socket?.transport,
      catalogDigest: digestOfCatalog(catalog),
    };
    const acquired = await directory.acquire(device, description, lastEpoch);
    const { lease } = acquired;
    const newest = devices.find(lease)?.epoch ?? 0;
    // It may have been revoked in the meantime.
    const fault = revocations.fault(device);
    if (newest > lease.epoch) this.end(disconnects.SUPERSEDED);
    else if (fault !== undefined) this.end(disconnects.refused(fault));
    const socket = this.#socket;
    if (socket === undefined || !this.#apply({ type: 'leased', lease })) {
      await directory.withdraw(acquired);
      return;
    }
    this.#helloAllowance.close();
    const { issuedAtMs } = device;
    const options = { hello, lease, issuedAtMs, socket, session: this };
    this.#live = new LiveSession(this.#context, options);
    this.#welcome(socket, lease);
  }

  #welcome(socket: Socket, { epoch, tenant, deviceId, transport }: Lease): void {
    const { heartbeat, heartbeatMs, maxFrameBytes, renewer, clock, log } = this.#context;
    this.#slot = heartbeat.join(this);
    const features = renewer === undefined ? [] : [RENEWAL_FEATURE];
    const unixMs = clock.unixMs();
    socket.send(welcomeFrame({ epoch, heartbeatMs, maxFrameBytes, features, unixMs }));
    log.info({ tenant, deviceId, epoch, transport }, 'device live');
    this.#observer.onLive();
  }

  #report({ end, error }: disconnects.Disconnect, lease: Lease | undefined): void {
    const { metrics, log, logThrottle, clock } = this.#context;
    metrics.sessionEnded(end);
    if (error !== undefined && (end === 'malformed' || end === 'limit')) {
      metrics.refused('device', error.id);
    }
    const kind = `${end} ${error?.id}`;
    const unlogged = lease === undefined ? logThrottle.take(kind, clock.monotonicMs()) : 0;
    if (unlogged === undefined) return;
    const { tenant, deviceId, epoch } = lease ?? {};
    const ended = { end, errorId: error?.id, why: error?.message };
    const fields = { tenant, deviceId, epoch, ...ended, ...(unlogged > 0 && { unlogged }) };
    if (error === undefined || end === 'draining') log.info(fields, 'device gone');
    else log.warn(fields, 'device session ended');
  }

  /** Returns false when the state does not allow the event. */
  #apply(event: SessionEvent): boolean {
    const next = transition(this.#state, event);
    if (next === undefined) return false;
    this.#state = next;
    return true;
  }
}
