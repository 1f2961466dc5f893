import type { WebSocket } from 'uWebSockets.js';
import type { Socket, SocketListener } from '../../ports.ts';

/** What uWebSockets.js keeps with a socket. */
export interface UserData {
  readonly peer: UwsSocket;
}

type Native = WebSocket<UserData>;

/** The native object must not be touched once it is closed: it throws. */
export class UwsSocket implements Socket {
  readonly listener: SocketListener;
  #native: Native | undefined;

  constructor(listener: SocketListener) {
    this.listener = listener;
  }

  opened(native: Native): void {
    this.#native = native;
    this.listener.onOpen(this);
  }

  /** True the first time. */
  detach(): boolean {
    const wasOpen = this.#native !== undefined;
    this.#native = undefined;
    return wasOpen;
  }

  get queuedBytes(): number {
    return this.#native?.getBufferedAmount() ?? 0;
  }

  send(bytes: Uint8Array): number {
    const native = this.#native;
    if (native === undefined) return 0;
    // 1: all of it went to the kernel. 0: some waits; nothing is ever dropped (maxBackpressure 0).
    return native.send(bytes, true) === 1 ? 0 : native.getBufferedAmount();
  }

  ping(): void {
    this.#native?.ping();
  }

  close(code: number, reason: string): void {
    const native = this.#native;
    // First, because end() calls the close handler before it returns.
    this.#native = undefined;
    native?.end(code, reason);
  }

  terminate(): void {
    const native = this.#native;
    this.#native = undefined;
    native?.close();
  }
}
