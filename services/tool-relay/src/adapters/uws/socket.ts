import type { WebSocket } from 'uWebSockets.js';
import type { Arrival, Socket, SocketListener } from '../../sockets/socket-engine.ts';

/** What uWebSockets.js stores with a socket. */
export interface UserData {
  readonly peer: UwsSocket;
  readonly arrival: Arrival;
}

type Native = WebSocket<UserData>;

interface CloseFrame {
  readonly code: number;
  readonly reason: string;
}

/** The same bound as in ws. */
const MAX_UNREAD_PONGS = 60;

/** Never touches the native object after its close: that throws. */
export class UwsSocket implements Socket {
  readonly transport = 'websocket';
  readonly listener: SocketListener;
  readonly #outbox: Outbox;
  #native: Native | undefined;
  #isOpen = false;
  #messages: Uint8Array[] = [];
  #messageBytes = 0;
  /** Bytes that the kernel had not taken at the last flush or drain. */
  #backlogBytes = 0;
  #closeFrame: CloseFrame | undefined;
  #unreadPongs = 0;

  constructor(listener: SocketListener, outbox: Outbox) {
    this.listener = listener;
    this.#outbox = outbox;
  }

  opened(native: Native): void {
    this.#native = native;
    this.#isOpen = true;
    this.listener.onOpen(this);
  }

  /** False after a close by either side. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Returns true unless we closed it ourselves. */
  closed(): boolean {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#native = undefined;
    this.#forget();
    return wasOpen;
  }

  drained(): void {
    this.#backlogBytes = this.#native?.getBufferedAmount() ?? 0;
  }

  /** uWebSockets.js answers even a peer that never reads. Returns false when too many answers wait. */
  pinged(): boolean {
    const isRead = (this.#native?.getBufferedAmount() ?? 0) === 0;
    this.#unreadPongs = isRead ? 0 : this.#unreadPongs + 1;
    return this.#unreadPongs <= MAX_UNREAD_PONGS;
  }

  get queuedBytes(): number {
    return this.#isOpen ? this.#backlogBytes + this.#messageBytes : 0;
  }

  send(bytes: Uint8Array): number {
    if (!this.#isOpen) return 0;
    if (this.#messages.length === 0) this.#outbox.add(this);
    this.#messages.push(Buffer.from(bytes));
    this.#messageBytes += bytes.length;
    return this.#backlogBytes + this.#messageBytes;
  }

  ping(): void {
    if (this.#isOpen) this.#native?.ping();
  }

  pause(): boolean {
    return false;
  }

  resume(): void {}

  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#closeFrame = { code, reason };
    this.#outbox.add(this);
  }

  terminate(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#forget();
    this.#native?.close();
  }

  flush(): void {
    const native = this.#native;
    if (native === undefined) return;
    const messages = this.#messages;
    const [first] = messages;
    if (messages.length === 1 && first !== undefined) this.#write(native, first);
    else if (messages.length > 1) {
      native.cork(() => {
        for (const message of messages) this.#write(native, message);
      });
    }
    this.#messages = [];
    this.#messageBytes = 0;
    const closeFrame = this.#closeFrame;
    if (closeFrame !== undefined) native.end(closeFrame.code, closeFrame.reason);
  }

  #write(native: Native, message: Uint8Array): void {
    // 1: the kernel took everything. 0: some bytes wait. maxBackpressure 0 drops nothing.
    if (native.send(message, true) !== 1) this.#backlogBytes = native.getBufferedAmount();
  }

  #forget(): void {
    this.#messages = [];
    this.#messageBytes = 0;
    this.#backlogBytes = 0;
  }
}

/**
 * Sends everything after the event loop has read what there was to read.
 *
 * It must: uSockets shares one TLS input buffer among all sockets, and a write
 * to any of them while a full buffer (512 KiB) of another is being delivered
 * drops the rest of it, which ends that connection. And it pays: frames for one
 * socket share a TLS record and a system call.
 */
export class Outbox {
  #waiting: UwsSocket[] = [];
  #isScheduled = false;

  add(socket: UwsSocket): void {
    this.#waiting.push(socket);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.flush());
  }

  flush(): void {
    this.#isScheduled = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const socket of waiting) socket.flush();
  }
}
