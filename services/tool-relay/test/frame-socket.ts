import { once } from 'node:events';
import { decodeFrame, encodeFrame, type Frame, NO_CALL, NO_PAYLOAD } from '@zerolatency/frame';
import { eventually } from '@zerolatency/testing';
import { type ClientOptions, WebSocket } from 'ws';

export type FrameFields = Partial<Frame> & Pick<Frame, 'kind'>;

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** A client that collects the frames it receives. */
export class FrameSocket {
  readonly native: WebSocket;
  readonly frames: Frame[] = [];
  closed: Closed | undefined;
  onFrame: (frame: Frame) => void = () => {};

  constructor(url: string, options: ClientOptions) {
    this.native = new WebSocket(url, { perMessageDeflate: false, ...options });
    this.native.on('error', () => {});
    this.native.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    this.native.on('message', (data) => {
      const { frame, error } = decodeFrame(Uint8Array.from(data as Buffer));
      if (frame === undefined) throw error;
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

export function frameBytes(fields: FrameFields): Uint8Array {
  return encodeFrame({
    flags: 0,
    device: 0,
    callId: NO_CALL,
    offset: 0,
    epoch: 0,
    payload: NO_PAYLOAD,
    ...fields,
  });
}
