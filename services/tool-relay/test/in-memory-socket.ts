import { decodeFrame, type Frame } from '@zerolatency/frame';
import type { Socket } from '../src/sockets/socket-engine.ts';

/** Records what a session or link does to its socket. */
export class InMemorySocket implements Socket {
  readonly transport = 'websocket';
  readonly sent: Uint8Array[] = [];
  closed: { code: number; reason: string } | 'terminated' | undefined;
  pings = 0;
  queuedBytes = 0;
  /** As an engine that can stop reading. */
  canPause = false;
  isPaused = false;

  send(bytes: Uint8Array): number {
    if (this.closed === undefined) this.sent.push(Uint8Array.from(bytes));
    return this.queuedBytes;
  }

  ping(): void {
    this.pings += 1;
  }

  pause(): boolean {
    this.isPaused = this.canPause;
    return this.canPause;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }

  terminate(): void {
    this.closed ??= 'terminated';
  }

  /** The frames sent since the last call. */
  takeFrames(): Frame[] {
    return this.sent.splice(0).map((bytes) => {
      const { frame, error } = decodeFrame(bytes);
      if (frame === undefined) throw error;
      return frame;
    });
  }
}
