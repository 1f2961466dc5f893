import { type EventEmitter, once } from 'node:events';
import type { Frame } from '@zerolatency/frame';
import { eventually, type FrameFields, frameBytes, onFrames } from '@zerolatency/testing';
import { type ClientOptions, WebSocket } from 'ws';

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

interface Native extends EventEmitter {
  send(bytes: Uint8Array): void;
  terminate(): void;
}

export function openSocket(url: string, options: ClientOptions): WebSocket {
  return new WebSocket(url, { perMessageDeflate: false, ...options });
}

/** A client that collects the frames it receives. */
export class FrameSocket<N extends Native = WebSocket> {
  readonly native: N;
  readonly frames: Frame[] = [];
  closed: Closed | undefined;
  onFrame: (frame: Frame) => void = () => {};

  constructor(native: N) {
    this.native = native;
    this.native.on('error', () => {});
    this.native.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    onFrames(this.native, (frame) => {
      this.frames.push(frame);
      this.onFrame(frame);
    });
  }

  async opened(): Promise<void> {
    await once(this.native, 'open');
  }

  send(fields: FrameFields): void {
    this.sendBytes(frameBytes(fields));
  }

  sendBytes(bytes: Uint8Array): void {
    this.native.send(bytes);
  }

  /** Removes and returns the first matching frame. */
  take(wanted: number | ((frame: Frame) => boolean)): Promise<Frame> {
    const fits = typeof wanted === 'number' ? (frame: Frame) => frame.kind === wanted : wanted;
    return eventually(() => {
      const index = this.frames.findIndex(fits);
      return index < 0 ? undefined : this.frames.splice(index, 1)[0];
    });
  }

  end(): Promise<Closed> {
    return eventually(() => this.closed);
  }
}
