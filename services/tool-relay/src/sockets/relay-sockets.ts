import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorId } from '@zerolatency/errors';
import { LogThrottle } from '@zerolatency/service/telemetry';
import type { RelayConfig } from '../config.ts';
import { Backlog, type Side } from '../limits/backlog.ts';
import { Heartbeat } from '../limits/heartbeat.ts';
import { LargeHellos } from '../limits/hello-allowance.ts';
import type { Clock, Log } from '../ports.ts';
import { type HostVerifier, LinkGate } from '../routing/link-gate.ts';
import type { LiveDevices } from '../routing/live-devices.ts';
import { DeviceGate } from '../sessions/device-gate.ts';
import type { DeviceSession, SessionContext, SessionMetrics } from '../sessions/device-session.ts';
import type { HelloVerifier } from '../sessions/hello.ts';
import { Arrivals, type Unadmitted } from './arrivals.ts';
import type { Capacity } from './capacity.ts';
import type {
  Balancers,
  OpenSocketEngine,
  SocketEngine,
  SocketEngineOptions,
} from './socket-engine.ts';

/** Close frames need a moment to reach the peers before the sockets are cut. */
const LINGER_MS = 100;
/** About sessions that end the same way before they are live. */
const LINES_PER_MINUTE = 10;
/** The engine's idle timeout is for sockets that the heartbeat misses. */
const IDLE_HEARTBEATS = 3;

export interface SocketMetrics extends SessionMetrics {
  unadmitted(why: Unadmitted): void;
  streamRequest(errorId: ErrorId | 'none'): void;
}

export interface RelaySocketsOptions {
  readonly config: RelayConfig;
  readonly capacity: Capacity;
  readonly balancers: Balancers;
  readonly openEngine: OpenSocketEngine;
  readonly tls: SocketEngineOptions['tls'];
  readonly devices: LiveDevices;
  readonly directory: SessionContext['directory'];
  readonly helloVerifier: HelloVerifier;
  readonly revocations: SessionContext['revocations'];
  readonly renewer: SessionContext['renewer'];
  readonly shards: SessionContext['shards'];
  readonly hostVerifier: HostVerifier;
  readonly clock: Clock;
  readonly metrics: SocketMetrics;
  readonly log: Log;
}

/** All sockets of the relay: the engine, and the gates that admit devices and links. */
export class RelaySockets {
  readonly #options: RelaySocketsOptions;
  readonly #heartbeat: Heartbeat;
  readonly #backlog = new Backlog();
  readonly #deviceGate: DeviceGate;
  readonly #linkGate: LinkGate;
  readonly #arrivals: Arrivals;
  #engine: SocketEngine | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isDraining = false;
  #isAccepting = true;

  constructor(options: RelaySocketsOptions) {
    this.#options = options;
    const { config, devices, clock, metrics, log } = options;
    const { heartbeatMs, maxFrameBytes } = config.sockets;
    this.#heartbeat = new Heartbeat(heartbeatMs);
    const shared = {
      devices,
      clock,
      metrics,
      log,
      maxFrameBytes,
      heartbeat: this.#heartbeat,
      backlog: this.#backlog,
    };
    this.#arrivals = new Arrivals({
      max: options.capacity.maxUnproved,
      proveWithinMs: config.devices.handshakeMs,
      connectsPerAddress: config.devices.connectsPerAddress,
      balancers: options.balancers,
      monotonicMs: clock.monotonicMs,
      onUnadmitted: (why) => metrics.unadmitted(why),
    });
    const { directory, helloVerifier, revocations, renewer, shards, hostVerifier } = options;
    this.#deviceGate = new DeviceGate({
      ...shared,
      heartbeatMs,
      directory,
      revocations,
      renewer,
      shards,
      relayId: config.relayId,
      limits: config.devices,
      verifier: helloVerifier,
      logThrottle: new LogThrottle(LINES_PER_MINUTE),
      largeHellos: new LargeHellos(config.devices.maxCatalogBytes),
    });
    this.#linkGate = new LinkGate(
      { ...shared, limits: config.links, isDraining: () => this.#isDraining },
      hostVerifier,
    );
  }

  get engineName(): string {
    return this.#engine?.name ?? 'closed';
  }

  get deviceSockets(): number {
    return this.#deviceGate.size;
  }

  get deviceSessions(): Iterable<DeviceSession> {
    return this.#deviceGate.sessions;
  }

  get unproved(): number {
    return this.#arrivals.size;
  }

  /** False at the limit of file descriptors. */
  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  get links(): number {
    return this.#linkGate.size;
  }

  get handles(): number {
    return this.#linkGate.handles;
  }

  queuedBytes(to: Side): number {
    return this.#backlog.queuedBytes(to);
  }

  /** Returns the port. */
  async open(): Promise<number> {
    const { config, capacity, balancers, openEngine, tls, metrics, log } = this.#options;
    const { host, port, maxFrameBytes, heartbeatMs } = config.sockets;
    this.#engine = await openEngine({
      host,
      port,
      tls,
      balancers,
      maxMessageBytes: maxFrameBytes,
      maxConnections: capacity.maxConnections,
      idleTimeoutMs: IDLE_HEARTBEATS * heartbeatMs,
      arrive: (address, cut) => this.#arrivals.arrive(address, cut),
      admit: (request) =>
        request.endpoint === 'device'
          ? this.#deviceGate.admit(request.arrival)
          : this.#linkGate.admit(request),
      onStreamRequest: (errorId) => metrics.streamRequest(errorId),
      onFailure: (err) => log.error({ err }, 'socket handler failed'),
      onAccepting: (isAccepting) => this.#changeAccepting(isAccepting),
    });
    this.#timer = setInterval(() => this.#heartbeat.tick(), this.#heartbeat.tickMs);
    this.#timer.unref();
    return this.#engine.port;
  }

  reloadTls(): void {
    try {
      this.#engine?.reloadTls();
    } catch (err) {
      // A file watch triggered it, so no caller can be informed. The old certificate stays.
      this.#options.log.warn({ err }, 'socket engine kept the old certificate');
    }
  }

  #changeAccepting(isAccepting: boolean): void {
    this.#isAccepting = isAccepting;
    const { maxConnections } = this.#options.capacity;
    const { log } = this.#options;
    if (isAccepting) log.info({ maxConnections }, 'accepting connections again');
    else log.warn({ maxConnections }, 'not accepting connections: file descriptors are used up');
  }

  /** Gives devices and hosts time to move to another pod, then closes the rest. */
  async drain(deadline: AbortSignal): Promise<void> {
    const { lastsMs, left } = this.#deviceGate.drain(this.#options.config.drain);
    this.#isDraining = true;
    this.#linkGate.drain(lastsMs);
    const stop = new AbortController();
    const signal = AbortSignal.any([deadline, stop.signal]);
    await Promise.race([left, sleep(lastsMs, undefined, { signal }).catch(() => {})]);
    stop.abort();
    const hadSockets = this.#deviceGate.size + this.#linkGate.size > 0;
    this.#deviceGate.end();
    this.#linkGate.end();
    if (hadSockets) await sleep(LINGER_MS);
    clearInterval(this.#timer);
    await this.#engine?.close();
  }
}
