import { randomBytes } from 'node:crypto';
import { fromUnknown } from '@zerolatency/errors';
import { decodeFrame, FrameKind } from '@zerolatency/frame';
import type { Pulse } from '../limits/heartbeat.ts';
import type { Lease, ProvedDevice, Socket, SocketEnd, SocketListener } from '../ports.ts';
import { canonicalFrame } from '../routing/canonical-frame.ts';
import { challengeFrame, drainFrame, welcomeFrame } from '../routing/relay-frames.ts';
import * as endings from './ending.ts';
import { type Hello, readHello } from './hello.ts';
import type { SessionContext } from './session-context.ts';
import { type SessionEvent, type SessionState, transition } from './session-state.ts';
import { Tenure } from './tenure.ts';

const NONCE_BYTES = 32;
/** Beats without a sign of life after which a peer is dead: silent for two intervals. */
const MAX_MISSED_BEATS = 2;

/** Who counts the sessions. */
export interface SessionObserver {
  onLive(session: DeviceSession): void;
  /** Once, also when its socket never opened. */
  onGone(session: DeviceSession, wasLive: boolean): void;
}

/** One device socket, from its challenge until it is gone. It owns its timer. */
export class DeviceSession implements SocketListener, Pulse {
  readonly #context: SessionContext;
  readonly #observer: SessionObserver;
  #state: SessionState = { name: 'challenged', nonce: randomBytes(NONCE_BYTES) };
  #socket: Socket | undefined;
  #tenure: Tenure | undefined;
  #handshakeTimer: NodeJS.Timeout | undefined;
  #slot = 0;
  #missedBeats = 0;

  constructor(context: SessionContext, observer: SessionObserver) {
    this.#context = context;
    this.#observer = observer;
  }

  get state(): SessionState['name'] {
    return this.#state.name;
  }

  onOpen(socket: Socket): void {
    const { limits, relayId } = this.#context;
    if (this.#state.name !== 'challenged') {
      // Ended while the socket was being made.
      socket.terminate();
      return;
    }
    this.#socket = socket;
    this.#handshakeTimer = setTimeout(() => this.end(endings.tooLate), limits.handshakeMs);
    socket.send(challengeFrame(this.#state.nonce, relayId));
  }

  onAbandoned(): void {
    this.end(endings.bySocket('closed'));
  }

  onPong(): void {
    this.#missedBeats = 0;
  }

  onEnd(end: SocketEnd): void {
    this.#socket = undefined;
    this.end(endings.bySocket(end));
  }

  onMessage(bytes: Buffer): void {
    this.#missedBeats = 0;
    const frame = canonicalFrame(bytes, this.#context.maxFrameBytes);
    if (frame === undefined) {
      this.end(endings.malformed('not a frame'));
      return;
    }
    const ending = this.#tenure === undefined ? this.#onHello(frame) : this.#tenure.receive(frame);
    if (ending !== undefined) this.end(ending);
  }

  beat(): void {
    const { clock } = this.#context;
    if (this.#missedBeats >= MAX_MISSED_BEATS) {
      this.end(endings.silent);
    } else if ('expiresAtMs' in this.#state && clock.unixMs() >= this.#state.expiresAtMs) {
      this.end(endings.expired);
    } else {
      this.#missedBeats += 1;
      this.#socket?.ping();
      this.#tenure?.device.forgetUnusedRoutes(clock.monotonicMs());
    }
  }

  cut(reason: 'slow' | 'superseded'): void {
    this.end(reason === 'slow' ? endings.slow : endings.superseded);
  }

  /** Lets calls go on while the device moves. One that is not live yet can go at once. */
  drain(closeAfterMs: number): void {
    if (this.#apply({ type: 'drain' })) this.#socket?.send(drainFrame(closeAfterMs));
    else this.end(endings.draining);
  }

  end(ending: endings.Ending): void {
    const wasDraining = this.#state.name === 'draining';
    if (!this.#apply({ type: 'ended', end: ending.end })) return;
    clearTimeout(this.#handshakeTimer);
    const socket = this.#socket;
    const tenure = this.#tenure;
    this.#socket = undefined;
    this.#tenure = undefined;
    if (ending.code === undefined) socket?.terminate();
    else socket?.close(ending.code, ending.error?.id ?? '');
    if (tenure !== undefined) {
      this.#context.heartbeat.leave(this, this.#slot);
      tenure.end(endings.lostReason(ending.end, wasDraining));
    }
    this.#report(ending, tenure?.device.lease);
    this.#observer.onGone(this, tenure !== undefined);
  }

  #onHello(bytes: Uint8Array): endings.Ending | undefined {
    const { frame } = decodeFrame(bytes);
    if (frame?.kind !== FrameKind.HELLO) return endings.malformed('the first frame is no hello');
    const read = readHello(frame.payload, this.#context.limits);
    if ('error' in read) return endings.unreadable(read.error);
    const { hello } = read;
    const nonce = this.#state.name === 'challenged' ? this.#state.nonce : undefined;
    if (nonce === undefined || !this.#apply({ type: 'hello', hello })) {
      return endings.malformed('a second hello');
    }
    this.#prove(hello, nonce).catch((reason: unknown) => {
      this.#context.log.error({ err: reason }, 'a hello could not be checked');
      this.end(endings.refused(fromUnknown(reason)));
    });
    return undefined;
  }

  async #prove(hello: Hello, nonce: Uint8Array): Promise<void> {
    const { verifier, devices } = this.#context;
    const { credential, proof } = hello;
    const device = await verifier.verify({ credential, proof, nonce });
    if ('error' in device) {
      this.end(endings.refused(device.error));
      return;
    }
    if (!this.#apply({ type: 'proof_held', device })) return;
    if (!devices.hasRoomFor(device)) {
      this.end(endings.overLimit('the tenant has as many devices here as it may'));
      return;
    }
    await this.#takeLease(hello, device);
  }

  async #takeLease(hello: Hello, device: ProvedDevice): Promise<void> {
    const { directory, devices, clock } = this.#context;
    const description = {
      connectedUnixMs: clock.unixMs(),
      bridgeVersion: hello.bridgeVersion,
      catalog: hello.catalog,
    };
    const lease = await directory.acquire(device, description);
    const newest = devices.find(lease)?.epoch ?? 0;
    if (newest > lease.epoch) this.end(endings.superseded);
    const socket = this.#socket;
    if (socket === undefined || !this.#apply({ type: 'leased', lease })) {
      await directory.release(lease);
      return;
    }
    clearTimeout(this.#handshakeTimer);
    this.#tenure = new Tenure(this.#context, { hello, lease, description, socket, session: this });
    this.#welcome(socket, lease);
  }

  #welcome(socket: Socket, { epoch, tenant, deviceId }: Lease): void {
    const { heartbeat, heartbeatMs, maxFrameBytes, log } = this.#context;
    this.#slot = heartbeat.join(this);
    socket.send(welcomeFrame({ epoch, heartbeatMs, maxFrameBytes }));
    log.info({ tenant, deviceId, epoch }, 'device live');
    this.#observer.onLive(this);
  }

  #report({ end, error }: endings.Ending, lease: Lease | undefined): void {
    const { metrics, log } = this.#context;
    metrics.sessionEnded(end);
    if (error !== undefined && (end === 'malformed' || end === 'limit')) {
      metrics.refused('device', error.id);
    }
    const { tenant, deviceId, epoch } = lease ?? {};
    const fields = { tenant, deviceId, epoch, end, errorId: error?.id, why: error?.message };
    if (error === undefined || end === 'draining') log.info(fields, 'device gone');
    else log.warn(fields, 'device session ended');
  }

  /** False when the event has no place in the state. */
  #apply(event: SessionEvent): boolean {
    const next = transition(this.#state, event);
    if (next === undefined) return false;
    this.#state = next;
    return true;
  }
}
