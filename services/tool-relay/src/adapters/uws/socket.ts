import type { WebSocket } from 'uWebSockets.js';
import type { Socket, SocketListener } from '../../ports.ts';
import type { Outbox } from './outbox.ts';

/** What uWebSockets.js keeps with a socket. */
export interface UserData {
  readonly peer: UwsSocket;
}

type Native = WebSocket<UserData>;

interface CloseFrame {
  readonly code: number;
  readonly reason: string;
}

/** What ws bounds it to as well. */
const MAX_UNREAD_PONGS = 60;

/** The native object must not be touched once it is closed: it throws. */
export class UwsSocket implements Socket {
  readonly listener: SocketListener;
  readonly #outbox: Outbox;
  #native: Native | undefined;
  #isOpen = false;
  #messages: Uint8Array[] = [];
  #messageBytes = 0;
  /** Bytes that the kernel has not taken, as of the last flush or drain. */
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

  /** Whether anything of it is still to be heard. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The native socket is closed. True when that is news. */
  closed(): boolean {
    const isNews = this.#isOpen;
    this.#isOpen = false;
    this.#native = undefined;
    this.#forget();
    return isNews;
  }

  drained(): void {
    this.#backlogBytes = this.#native?.getBufferedAmount() ?? 0;
  }

  /** uWebSockets.js answers by itself, also a peer that never reads. False when that has gone too far. */
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
    // 1: all of it went to the kernel. 0: some waits; nothing is ever dropped (maxBackpressure 0).
    if (native.send(message, true) !== 1) this.#backlogBytes = native.getBufferedAmount();
  }

  #forget(): void {
    this.#messages = [];
    this.#messageBytes = 0;
    this.#backlogBytes = 0;
  }
}
