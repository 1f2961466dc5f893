import { setTimeout as sleep } from 'node:timers/promises';
import { chooseEngine } from '../adapters/choose-engine.ts';
import type { RelayConfig } from '../config.ts';
import { AddressGate } from '../limits/address-gate.ts';
import { Backlog } from '../limits/backlog.ts';
import { Heartbeat } from '../limits/heartbeat.ts';
import type {
  Clock,
  Directory,
  HelloVerifier,
  HostVerifier,
  Log,
  RelayMetrics,
  Side,
  SocketEngine,
  SocketEngineOptions,
} from '../ports.ts';
import type { Devices } from '../routing/devices.ts';
import { LinkGate } from '../routing/link-gate.ts';
import { DeviceGate } from '../sessions/device-gate.ts';

/** Close frames need a moment to reach the peers before what is open is cut. */
const LINGER_MS = 100;
/** The engine's own idea of a dead socket is for those that the heartbeat does not see. */
const IDLE_HEARTBEATS = 3;

export interface RelaySocketsOptions {
  readonly config: RelayConfig;
  readonly tls: SocketEngineOptions['tls'];
  readonly devices: Devices;
  readonly directory: Directory;
  readonly helloVerifier: HelloVerifier;
  readonly hostVerifier: HostVerifier;
  readonly clock: Clock;
  readonly metrics: RelayMetrics;
  readonly log: Log;
}

/** Every socket of the relay: the engine, and those who decide what may be on it. */
export class RelaySockets {
  readonly #options: RelaySocketsOptions;
  readonly #heartbeat: Heartbeat;
  readonly #backlog = new Backlog();
  readonly #deviceGate: DeviceGate;
  readonly #linkGate: LinkGate;
  #engine: SocketEngine | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isDraining = false;

  constructor(options: RelaySocketsOptions) {
    this.#options = options;
    const { config, devices, clock, metrics, log } = options;
    const { heartbeatMs, maxFrameBytes } = config.sockets;
    this.#heartbeat = new Heartbeat(heartbeatMs);
    const addresses = new AddressGate(config.devices.connectsPerAddress);
    const shared = {
      devices,
      clock,
      metrics,
      log,
      maxFrameBytes,
      heartbeat: this.#heartbeat,
      backlog: this.#backlog,
    };
    const { directory, helloVerifier, hostVerifier } = options;
    this.#deviceGate = new DeviceGate(
      {
        ...shared,
        heartbeatMs,
        directory,
        relayId: config.relayId,
        limits: config.devices,
        verifier: helloVerifier,
      },
      addresses,
    );
    this.#linkGate = new LinkGate(
      { ...shared, limits: config.links, isDraining: () => this.#isDraining },
      hostVerifier,
      addresses,
    );
  }

  get engineName(): string {
    return this.#engine?.name ?? 'closed';
  }

  get deviceSockets(): number {
    return this.#deviceGate.size;
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

  /** Gives the port. */
  async open(): Promise<number> {
    const { config, tls, log } = this.#options;
    const { host, port, engine, maxFrameBytes, heartbeatMs } = config.sockets;
    const open = await chooseEngine(engine);
    this.#engine = await open({
      host,
      port,
      tls,
      maxMessageBytes: maxFrameBytes,
      idleTimeoutMs: IDLE_HEARTBEATS * heartbeatMs,
      admit: (request) =>
        request.endpoint === 'device'
          ? this.#deviceGate.admit(request.address)
          : this.#linkGate.admit(request),
      onFailure: (err) => log.error({ err }, 'socket handler failed'),
    });
    this.#timer = setInterval(() => this.#heartbeat.tick(), this.#heartbeat.tickMs);
    this.#timer.unref();
    return this.#engine.port;
  }

  reloadTls(): void {
    try {
      this.#engine?.reloadTls();
    } catch (err) {
      // Nobody asked for it who could be told; the old certificate stays in use.
      this.#options.log.warn({ err }, 'certificate not taken over by the socket engine');
    }
  }

  /** Devices and hosts get time to move; what is still there afterwards is closed. */
  async drain(deadline: AbortSignal): Promise<void> {
    const { closeAfterMs } = this.#options.config.drain;
    this.#isDraining = true;
    this.#linkGate.drain(closeAfterMs);
    const left = this.#deviceGate.drain(closeAfterMs);
    const stop = new AbortController();
    const signal = AbortSignal.any([deadline, stop.signal]);
    await Promise.race([left, sleep(closeAfterMs, undefined, { signal }).catch(() => {})]);
    stop.abort();
    const hadSockets = this.#deviceGate.size + this.#linkGate.size > 0;
    this.#deviceGate.end();
    this.#linkGate.end();
    if (hadSockets) await sleep(LINGER_MS);
    clearInterval(this.#timer);
    await this.#engine?.close();
  }
}
