import type { WebSocket } from 'ws';
import type { Socket, SocketListener } from '../../sockets/socket-engine.ts';
import { deliver } from '../socket-engine.ts';

const BINARY = { binary: true, compress: false } as const;
/** What a peer may still send after our close frame: it may not have seen it yet. */
const MAX_READ_WHILE_CLOSING_BYTES = 64 * 1024;
const TOO_LARGE = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';

interface WsSocketOptions {
  readonly maxMessageBytes: number;
  readonly onFailure: (error: unknown) => void;
}

export class WsSocket implements Socket {
  readonly transport = 'websocket';
  readonly #native: WebSocket;
  readonly #listener: SocketListener;
  #isOpen = true;
  #readWhileClosingBytes = 0;

  constructor(native: WebSocket, listener: SocketListener, options: WsSocketOptions) {
    this.#native = native;
    this.#listener = listener;
    native.on('message', (data, isBinary) => {
      if (!this.#isOpen) return;
      // The default binaryType is nodebuffer.
      const bytes = data as Buffer;
      if (!isBinary) {
        this.close(1003, 'frame.malformed');
        listener.onEnd('text_message');
      } else if (bytes.length > options.maxMessageBytes) {
        this.close(1009, 'frame.too_large');
        listener.onEnd('too_large');
      } else {
        deliver({ socket: this, listener }, bytes, options.onFailure);
      }
    });
    native.on('ping', () => {
      if (this.#isOpen) listener.onControl('ping');
    });
    native.on('pong', () => {
      if (this.#isOpen) listener.onControl('pong');
    });
    native.on('error', (error) => {
      // ws has already sent close code 1009, without a reason. A close event follows every other error.
      if ('code' in error && error.code === TOO_LARGE && this.#detach()) {
        listener.onEnd('too_large');
      }
    });
    native.on('close', () => {
      if (this.#detach()) listener.onEnd('closed');
    });
  }

  opened(): void {
    this.#listener.onOpen(this);
  }

  read(bytes: number): void {
    if (this.#isOpen) {
      this.#listener.onRead(bytes);
      return;
    }
    this.#readWhileClosingBytes += bytes;
    // Cutting it now could take the close frame from the peer: ws does so after its close timeout.
    if (this.#readWhileClosingBytes > MAX_READ_WHILE_CLOSING_BYTES) this.#native.terminate();
  }

  get queuedBytes(): number {
    return this.#isOpen ? this.#native.bufferedAmount : 0;
  }

  send(bytes: Uint8Array): number {
    if (!this.#isOpen) return 0;
    this.#native.send(ownedBytes(bytes), BINARY);
    return this.#native.bufferedAmount;
  }

  ping(): void {
    if (this.#isOpen) this.#native.ping();
  }

  pause(): boolean {
    if (this.#isOpen) this.#native.pause();
    return true;
  }

  resume(): void {
    if (this.#isOpen) this.#native.resume();
  }

  close(code: number, reason: string): void {
    if (!this.#detach()) return;
    // The peer's own close frame is behind what has not been read.
    if (this.#native.isPaused) this.#native.resume();
    this.#native.close(code, reason);
  }

  terminate(): void {
    if (this.#detach()) this.#native.terminate();
  }

  /** Returns true the first time. */
  #detach(): boolean {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    return wasOpen;
  }
}

/**
 * ws queues without copying. A small view would keep its whole read buffer in
 * memory while it waits, far more than the backlog counts.
 */
function ownedBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes;
}
