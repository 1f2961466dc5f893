import { randomUUID } from 'node:crypto';
import type { ErrorId } from '@zerolatency/errors';
import {
  decodeFrame,
  deviceOf,
  epochOf,
  FrameKind,
  isKnownKind,
  kindOf,
  RENEWAL_FEATURE,
  readMessage,
} from '@zerolatency/frame';
import { OpenSchema } from '@zerolatency/proto/link';
import type { LinkLimits } from '../config.ts';
import { Allowance } from '../limits/allowance.ts';
import type { Backlog } from '../limits/backlog.ts';
import { type Heartbeat, MAX_MISSED_BEATS, type Pulse } from '../limits/heartbeat.ts';
import { LinkQueue, type QueuedByDevice } from '../limits/link-queue.ts';
import type { Clock, Log } from '../ports.ts';
import type { Socket, SocketEndReason, SocketListener } from '../sockets/socket-engine.ts';
import type { DeviceHandle, LiveDevice, RoutingMetrics } from './live-device.ts';
import type { LiveDevices } from './live-devices.ts';
import { canonicalFrame, drainFrame, type LostReason, routeLostFrame } from './relay-frames.ts';

export interface LinkContext {
  readonly limits: LinkLimits;
  readonly maxFrameBytes: number;
  readonly devices: LiveDevices;
  readonly heartbeat: Heartbeat;
  readonly backlog: Backlog;
  readonly clock: Clock;
  readonly metrics: RoutingMetrics;
  readonly log: Log;
  /** The pod shuts down: a device that is not here has moved. */
  readonly isDraining: () => boolean;
}

export interface LinkObserver {
  /** Called once, also when the socket never opened. */
  onGone(link: HostLink): void;
}

interface OpenHandle extends DeviceHandle {
  readonly device: LiveDevice;
}

/** One host's multiplexed connection: its open handles, and its frames to their devices. */
export class HostLink implements SocketListener, Pulse {
  readonly hostName: string;
  readonly linkId = randomUUID();
  readonly usage: { calls: number; readonly maxCalls: number };
  readonly #context: LinkContext;
  readonly #observer: LinkObserver;
  readonly #handles = new Map<number, OpenHandle>();
  readonly #allowance: Allowance;
  readonly #queue: LinkQueue;
  #socket: Socket | undefined;
  #slot = 0;
  #missedBeats = 0;

  constructor(hostName: string, context: LinkContext, observer: LinkObserver) {
    this.hostName = hostName;
    this.#context = context;
    this.#observer = observer;
    this.#allowance = new Allowance(context.limits, context.clock.monotonicMs());
    this.#queue = new LinkQueue(context.limits.maxQueueBytes);
    this.usage = { calls: 0, maxCalls: context.limits.maxCalls };
  }

  get handles(): number {
    return this.#handles.size;
  }

  onOpen(socket: Socket): void {
    this.#socket = socket;
    this.#slot = this.#context.heartbeat.join(this);
    this.#context.log.info({ host: this.hostName, link: this.linkId }, 'link open');
  }

  onAbandoned(): void {
    this.#observer.onGone(this);
  }

  onRead(bytes: number): void {
    if (!this.#allowance.takeRead(bytes, this.#context.clock.monotonicMs())) this.#overAllowance();
  }

  onControl(kind: 'ping' | 'pong'): void {
    if (kind === 'pong') this.#missedBeats = 0;
    if (!this.#allowance.takeControl(this.#context.clock.monotonicMs())) this.#overAllowance();
  }

  onEnd(end: SocketEndReason): void {
    if (end !== 'closed') this.#refuse(end === 'too_large' ? 'frame.too_large' : 'frame.malformed');
    this.#gone(end);
  }

  onMessage(bytes: Buffer): void {
    this.#missedBeats = 0;
    if (!this.#allowance.takeMessage(this.#context.clock.monotonicMs())) {
      this.#overAllowance();
      return;
    }
    const frame = canonicalFrame(bytes, this.#context.maxFrameBytes);
    if (frame === undefined) {
      this.#malformed('the message is not a frame');
      return;
    }
    const kind = kindOf(frame);
    if (kind >= FrameKind.CALL && kind < FrameKind.DATA) this.#forward(frame);
    else if (kind === FrameKind.OPEN) this.#open(frame);
    else if (kind === FrameKind.CLOSE) this.#close(deviceOf(frame));
    else if (!isKnownKind(kind)) this.#context.metrics.ignored('host');
    else this.#malformed(`a host does not send frames of kind ${kind}`);
  }

  #send(frame: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const queuedBytes = socket.send(frame);
    if (queuedBytes === 0) return;
    this.#context.backlog.note('host', socket);
    if (queuedBytes > this.#context.limits.maxQueueBytes) {
      // A host that does not read would not get a close frame.
      socket.terminate();
      this.#gone('slow');
    }
  }

  beat(): void {
    if (this.#missedBeats >= MAX_MISSED_BEATS) {
      this.#socket?.terminate();
      this.#gone('silent');
    } else {
      this.#missedBeats += 1;
      this.#socket?.ping();
    }
  }

  drain(closeAfterMs: number): void {
    this.#send(drainFrame(closeAfterMs));
  }

  end(code: number, reason: string): void {
    this.#socket?.close(code, reason);
    this.#gone(reason);
  }

  #forward(frame: Uint8Array): void {
    const handle = this.#handles.get(deviceOf(frame));
    if (handle === undefined) {
      // The host may have sent it before it learned that the handle was lost.
      this.#refuse('device.offline');
    } else if (epochOf(frame) !== handle.device.epoch) {
      handle.device.close(handle);
      this.#lost(handle.number, 'old_epoch');
    } else {
      handle.device.fromHost(handle, frame, this.#context.clock.monotonicMs());
    }
  }

  #open(bytes: Uint8Array): void {
    const { frame } = decodeFrame(bytes);
    const number = deviceOf(bytes);
    const address = frame && readMessage(OpenSchema, frame.payload);
    if (address === undefined || number === 0 || this.#handles.has(number)) {
      this.#malformed('an OPEN needs a tenant, a device and an unused handle');
      return;
    }
    const { devices, limits, isDraining } = this.#context;
    const device = devices.find(address);
    if (this.#handles.size >= limits.maxHandles) this.#lost(number, 'limit');
    // A device that has not moved yet can be called here.
    else if (device === undefined) this.#lost(number, isDraining() ? 'draining' : 'not_here');
    else {
      const handle = this.#handleOn(device, number, address.features);
      this.#handles.set(number, handle);
      device.open(handle);
    }
  }

  #handleOn(device: LiveDevice, number: number, features: readonly string[]): OpenHandle {
    const queued: QueuedByDevice = { bytes: 0, earlierBytes: 0, sinceBytes: 0 };
    return {
      number,
      device,
      hostName: this.hostName,
      readsRenewals: features.includes(RENEWAL_FEATURE),
      usage: this.usage,
      answer: (frame) => this.#send(frame),
      forward: (frame) => {
        const queuedBytes = this.#socket?.queuedBytes ?? 0;
        if (!this.#queue.add(queued, frame.length, queuedBytes)) return false;
        this.#send(frame);
        return true;
      },
      lost: (reason) => this.#lost(number, reason),
    };
  }

  #lost(number: number, reason: LostReason): void {
    this.#handles.delete(number);
    this.#context.metrics.routeLost(reason);
    this.#send(routeLostFrame(number, reason));
  }

  #close(number: number): void {
    const handle = this.#handles.get(number);
    this.#handles.delete(number);
    handle?.device.close(handle);
  }

  #overAllowance(): void {
    this.#refuse('limit.exceeded');
    const why = 'more than links.framesPerSecond or links.bytesPerSecond';
    this.#context.log.warn({ host: this.hostName, link: this.linkId, why }, 'link over its limit');
    this.end(4429, 'limit.exceeded');
  }

  #malformed(why: string): void {
    this.#refuse('frame.malformed');
    this.#context.log.warn({ host: this.hostName, link: this.linkId, why }, 'malformed frame');
    this.end(4400, 'frame.malformed');
  }

  #refuse(errorId: ErrorId): void {
    this.#context.metrics.refused('host', errorId);
  }

  #gone(why: string): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    const { heartbeat, backlog, log } = this.#context;
    heartbeat.leave(this, this.#slot);
    backlog.forget('host', socket);
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    for (const handle of handles) handle.device.close(handle);
    log.info({ host: this.hostName, link: this.linkId, why }, 'link gone');
    this.#observer.onGone(this);
  }
}
