import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket as Connection } from 'node:net';
import {
  encodeRecord,
  MAX_POST_RECORDS,
  RECORD_OVERHEAD_BYTES,
  RecordReader,
} from '@zerolatency/frame';
import type {
  Arrival,
  Socket,
  SocketEndReason,
  SocketEngineOptions,
  SocketListener,
} from '../../sockets/socket-engine.ts';
import { deliver } from '../socket-engine.ts';

const ID_BYTES = 32;
/** Several frames share a POST, so that a slow answer does not slow each of them. */
const SHARED_POST_BYTES = 256 * 1024;
/** Proxies that scan a response hold back its first few KiB. */
const PADDING = new Uint8Array(4096);
/** The time a device has to read the last record. */
const CLOSE_TIMEOUT_MS = 2_000;
/** One carries POSTs; others are left over from a change of the network. */
const MAX_CARRIERS = 4;

type Record = NonNullable<ReturnType<RecordReader['read']>['value']>[number];

export interface Post {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface BodyReader {
  readonly onChunk: (chunk: Buffer) => void;
  readonly onWhole: () => void;
}

/** For a POST that was taken before; its bytes count toward the device's rate all the same. */
const DISCARDED: BodyReader = { onChunk: () => {}, onWhole: () => {} };

interface StreamOptions extends Pick<SocketEngineOptions, 'maxMessageBytes' | 'onFailure'> {
  readonly response: ServerResponse;
  readonly listener: SocketListener;
  /** Takes the POST and does nothing more. */
  readonly answer: (post: Post) => void;
  readonly onGone: () => void;
}

/**
 * A response that lasts, and the POSTs that name it:
 *
 *   waiting --POST n--> reading --whole--> waiting for POST n + 1
 *      ^                   |       \--listener paused--> answering --resumed--> waiting for n + 1
 *      +--connection lost--+
 *
 * A POST counts whole or not at all. An earlier number is read and discarded; a later one, or the
 * next one before the answer, ends the stream. Any state ends with the response.
 */
export class StreamSocket implements Socket {
  readonly transport = 'http_stream';
  readonly id = randomBytes(ID_BYTES).toString('base64url');
  readonly #options: StreamOptions;
  readonly #carriers = new Map<Connection, Arrival>();
  readonly #maxPostBytes: number;
  #isOpen = true;
  #isProved = false;
  #isPaused = false;
  #next = 0;
  #reading: Post | undefined;
  #answering: Post | undefined;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#maxPostBytes = options.maxMessageBytes + SHARED_POST_BYTES;
    options.response.once('close', () => this.#lose('closed'));
  }

  opened(): void {
    const { id } = this;
    const value = { id, maxPostBytes: this.#maxPostBytes, padding: PADDING };
    this.#write(encodeRecord({ case: 'opened', value }));
    this.#options.listener.onOpen(this);
  }

  get queuedBytes(): number {
    return this.#isOpen ? this.#options.response.writableLength : 0;
  }

  send(bytes: Uint8Array): number {
    if (!this.#isOpen) return 0;
    this.#write(encodeRecord({ case: 'frame', value: bytes }));
    return this.queuedBytes;
  }

  ping(): void {
    if (this.#isOpen) this.#write(encodeRecord({ case: 'ping', value: {} }));
  }

  pause(): boolean {
    this.#isPaused = true;
    this.#reading?.request.pause();
    return true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#reading?.request.resume();
    const answering = this.#answering;
    this.#answering = undefined;
    if (answering !== undefined) this.#options.answer(answering);
  }

  close(code: number, reason: string): void {
    if (!this.#detach()) return;
    const { response } = this.#options;
    this.#write(encodeRecord({ case: 'close', value: { code, reason } }));
    response.end();
    const timer = setTimeout(() => response.destroy(), CLOSE_TIMEOUT_MS);
    response.once('close', () => clearTimeout(timer));
  }

  terminate(): void {
    this.#detach();
    this.#options.response.destroy();
  }

  /** Its device has proved who it is, and so have the connections of its POSTs. */
  proved(): void {
    this.#isProved = true;
    for (const arrival of this.#carriers.values()) arrival.proved();
  }

  /** A connection has named the stream, and ends with it. */
  carriedBy(connection: Connection, arrival: Arrival): void {
    if (this.#carriers.has(connection)) return;
    const [oldest] = this.#carriers.keys();
    if (this.#carriers.size >= MAX_CARRIERS) oldest?.destroy();
    this.#carriers.set(connection, arrival);
    connection.once('close', () => this.#carriers.delete(connection));
    if (this.#isProved) arrival.proved();
  }

  /** Returns why the POST is not taken; the stream is then over. */
  post(post: Post, { sequence, bytes }: { readonly sequence: number; readonly bytes: number }) {
    const isRepeated = sequence < this.#next;
    const isBeforeAnswer = !isRepeated && this.#answering !== undefined;
    if (sequence > this.#next || isBeforeAnswer) return this.#fail('malformed');
    if (bytes > this.#maxPostBytes) return this.#fail('too_large');
    // The device sends it again, because the connection of the first broke.
    this.#reading?.request.destroy();
    this.#answering?.response.destroy();
    this.#answering = undefined;
    this.#read(post, isRepeated ? DISCARDED : this.#records());
    return undefined;
  }

  #read(post: Post, { onChunk, onWhole }: BodyReader): void {
    const { request } = post;
    const isCurrent = () => this.#isOpen && this.#reading === post;
    this.#reading = post;
    request.on('data', (chunk: Buffer) => {
      if (isCurrent()) this.#options.listener.onRead(chunk.length);
      if (isCurrent()) onChunk(chunk);
    });
    request.on('end', () => {
      if (!isCurrent()) return;
      this.#reading = undefined;
      onWhole();
      if (!this.#isOpen) return;
      if (this.#isPaused) this.#answering = post;
      else this.#options.answer(post);
    });
    request.once('close', () => {
      if (this.#reading === post) this.#reading = undefined;
    });
    if (this.#isPaused) request.pause();
  }

  #records(): BodyReader {
    const { maxMessageBytes } = this.#options;
    const reader = new RecordReader(maxMessageBytes + SHARED_POST_BYTES + RECORD_OVERHEAD_BYTES);
    const records: Record[] = [];
    return {
      onChunk: (chunk) => {
        const { value, error } = reader.read(chunk);
        if (error === undefined) records.push(...value);
        if (error !== undefined || records.length > MAX_POST_RECORDS) this.#fail('malformed');
      },
      onWhole: () => {
        this.#next += 1;
        if (records.length === 0 || reader.heldBytes > 0) this.#fail('malformed');
        for (const record of records) if (this.#isOpen) this.#take(record);
      },
    };
  }

  #take(record: Record): void {
    const { listener, maxMessageBytes, onFailure } = this.#options;
    switch (record.case) {
      case 'frame': {
        const { value } = record;
        if (value.length > maxMessageBytes) this.#fail('too_large');
        else deliver({ socket: this, listener }, bufferOver(value), onFailure);
        break;
      }
      case 'close':
        this.close(record.value.code, '');
        listener.onEnd('closed');
        break;
      case 'opened':
      case 'ping':
        this.#fail('malformed');
        break;
      default:
        // A pong, or a record of a later release.
        listener.onControl('pong');
    }
  }

  #fail(end: 'malformed' | 'too_large'): typeof end | undefined {
    if (!this.#isOpen) return undefined;
    if (end === 'malformed') this.close(4400, 'frame.malformed');
    else this.close(1009, 'frame.too_large');
    this.#options.listener.onEnd(end);
    return end;
  }

  #lose(end: SocketEndReason): void {
    if (this.#detach()) this.#options.listener.onEnd(end);
  }

  #write(bytes: Uint8Array): void {
    this.#options.response.write(bytes);
  }

  /** Returns true the first time. */
  #detach(): boolean {
    if (!this.#isOpen) return false;
    this.#isOpen = false;
    this.#reading = undefined;
    this.#answering = undefined;
    // After the answer to a POST that was refused.
    for (const connection of this.#carriers.keys()) setImmediate(() => connection.destroySoon());
    this.#options.onGone();
    return true;
  }
}

function bufferOver({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
