import { randomUUID } from 'node:crypto';
import { decodeFrame, deviceOf, epochOf, FrameKind, kindOf } from '@zerolatency/frame';
import type { LinkLimits } from '../config.ts';
import type { Backlog } from '../limits/backlog.ts';
import type { Heartbeat, Pulse } from '../limits/heartbeat.ts';
import type {
  Clock,
  Log,
  LostReason,
  RelayMetrics,
  Socket,
  SocketEnd,
  SocketListener,
} from '../ports.ts';
import { canonicalFrame } from './canonical-frame.ts';
import type { Devices } from './devices.ts';
import { Hold, type HoldingLink } from './hold.ts';
import { drainFrame, readOpen, routeLostFrame } from './relay-frames.ts';

/** Beats without a sign of life after which a peer is dead: silent for two intervals. */
const MAX_MISSED_BEATS = 2;

export interface LinkContext {
  readonly limits: LinkLimits;
  readonly maxFrameBytes: number;
  readonly devices: Devices;
  readonly heartbeat: Heartbeat;
  readonly backlog: Backlog;
  readonly clock: Clock;
  readonly metrics: RelayMetrics;
  readonly log: Log;
  /** Whether new handles are refused because this pod is going away. */
  readonly isDraining: () => boolean;
}

/** Who keeps the links. */
export interface LinkObserver {
  /** Once, also when its socket never opened. */
  onGone(link: HostLink): void;
}

/** One host's multiplexed connection: the devices it holds, and its frames on their way to them. */
export class HostLink implements SocketListener, HoldingLink, Pulse {
  readonly hostName: string;
  readonly linkId = randomUUID();
  readonly usage: { calls: number; readonly maxCalls: number };
  readonly #context: LinkContext;
  readonly #observer: LinkObserver;
  readonly #holds = new Map<number, Hold>();
  #socket: Socket | undefined;
  #slot = 0;
  #missedBeats = 0;

  constructor(hostName: string, context: LinkContext, observer: LinkObserver) {
    this.hostName = hostName;
    this.#context = context;
    this.#observer = observer;
    this.usage = { calls: 0, maxCalls: context.limits.maxCalls };
  }

  get handles(): number {
    return this.#holds.size;
  }

  onOpen(socket: Socket): void {
    this.#socket = socket;
    this.#slot = this.#context.heartbeat.join(this);
    this.#context.log.info({ host: this.hostName, link: this.linkId }, 'link open');
  }

  onAbandoned(): void {
    this.#observer.onGone(this);
  }

  onPong(): void {
    this.#missedBeats = 0;
  }

  onEnd(end: SocketEnd): void {
    if (end !== 'closed') this.#refuse(end === 'too_large' ? 'frame.too_large' : 'frame.malformed');
    this.#gone(end);
  }

  onMessage(bytes: Buffer): void {
    this.#missedBeats = 0;
    const frame = canonicalFrame(bytes, this.#context.maxFrameBytes);
    if (frame === undefined) {
      this.#malformed('not a frame');
      return;
    }
    const kind = kindOf(frame);
    if (kind >= FrameKind.CALL && kind < FrameKind.DATA) this.#forward(frame);
    else if (kind === FrameKind.OPEN) this.#open(frame);
    else if (kind === FrameKind.CLOSE) this.#close(deviceOf(frame));
    else this.#malformed(`kind ${kind} is not a host's`);
  }

  send(frame: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const queuedBytes = socket.send(frame);
    if (queuedBytes === 0) return;
    this.#context.backlog.note('host', socket);
    if (queuedBytes > this.#context.limits.maxQueueBytes) {
      // No close frame gets through to a host that does not read.
      socket.terminate();
      this.#gone('slow');
    }
  }

  lost(handle: number, reason: LostReason): void {
    this.#holds.delete(handle);
    this.#context.metrics.routeLost(reason);
    this.send(routeLostFrame(handle, reason));
  }

  beat(): void {
    if (this.#missedBeats >= MAX_MISSED_BEATS) {
      this.#socket?.terminate();
      this.#gone('silent');
      return;
    }
    this.#missedBeats += 1;
    this.#socket?.ping();
  }

  drain(closeAfterMs: number): void {
    this.send(drainFrame(closeAfterMs));
  }

  end(code: number, reason: string): void {
    this.#socket?.close(code, reason);
    this.#gone(reason);
  }

  #forward(frame: Uint8Array): void {
    const hold = this.#holds.get(deviceOf(frame));
    if (hold === undefined) {
      // It may have been on its way when the handle was lost.
      this.#refuse('device.offline');
    } else if (epochOf(frame) !== hold.device.epoch) {
      hold.device.release(hold);
      this.lost(hold.handle, 'old_epoch');
    } else {
      hold.device.fromHost(hold, frame, this.#context.clock.monotonicMs());
    }
  }

  #open(bytes: Uint8Array): void {
    const { frame } = decodeFrame(bytes);
    const handle = deviceOf(bytes);
    const address = frame && readOpen(frame.payload);
    if (address === undefined || handle === 0 || this.#holds.has(handle)) {
      this.#malformed('an OPEN needs a tenant, a device and a handle that is free');
      return;
    }
    const { devices, limits, isDraining } = this.#context;
    const device = devices.find(address);
    if (isDraining()) this.lost(handle, 'draining');
    else if (this.#holds.size >= limits.maxHandles) this.lost(handle, 'limit');
    else if (device === undefined) this.lost(handle, 'not_here');
    else {
      const hold = new Hold(this, handle, device);
      this.#holds.set(handle, hold);
      device.hold(hold);
    }
  }

  #close(handle: number): void {
    const hold = this.#holds.get(handle);
    this.#holds.delete(handle);
    hold?.device.release(hold);
  }

  #malformed(why: string): void {
    this.#refuse('frame.malformed');
    this.#context.log.warn({ host: this.hostName, link: this.linkId, why }, 'malformed frame');
    this.end(4400, 'frame.malformed');
  }

  #refuse(errorId: Parameters<RelayMetrics['refused']>[1]): void {
    this.#context.metrics.refused('host', errorId);
  }

  #gone(why: string): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    const { heartbeat, backlog, log } = this.#context;
    heartbeat.leave(this, this.#slot);
    backlog.forget('host', socket);
    const holds = [...this.#holds.values()];
    this.#holds.clear();
    for (const hold of holds) hold.device.release(hold);
    log.info({ host: this.hostName, link: this.linkId, why }, 'link gone');
    this.#observer.onGone(this);
  }
}
