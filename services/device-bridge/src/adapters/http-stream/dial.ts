import type { IncomingMessage } from 'node:http';
import { type Agent, request } from 'node:https';
import {
  encodeRecord,
  MAX_FRAME_BYTES,
  MAX_POST_RECORDS,
  RECORD_OVERHEAD_BYTES,
  RecordReader,
  STREAM_CONTENT_TYPE,
  STREAM_ID_HEADER,
  STREAM_SEQUENCE_HEADER,
} from '@zerolatency/frame';
import type { Dial, RelaySocket, SocketEnd, SocketEvents } from '../../ports.ts';
import { Route } from '../proxy/proxies.ts';
import { endOf } from '../refusal.ts';
import type { DialOptions } from '../ws/dial.ts';

/** The connection of the last POST may have been closed just before the next one. */
const MAX_REPEATS = 2;
/** The relay holds an answer back for up to a minute while the device is over its rate. */
const POST_TIMEOUT_MS = 90_000;
/** The relay's last record may be behind the end of a POST. */
const LAST_RECORD_MS = 1_000;

const PONG = encodeRecord({ case: 'pong', value: {} });

type Record = NonNullable<ReturnType<RecordReader['read']>['value']>[number];

/** Dials an HTTP stream (bridge/v1/stream.proto) at the address of a relay's WebSockets. */
export function streamDial(options: (url: string) => DialOptions): Dial {
  return (url, events) => {
    const stream = new DialledStream(url, { ...options(url), events });
    stream.open();
    return stream;
  };
}

/**
 *   opening --(opened)--> open <--> posting --> closed
 *
 * closed is reachable from all of them. At most one POST is on its way, with everything that was
 * sent while the one before it was.
 */
class DialledStream implements RelaySocket {
  readonly #endpoint: string;
  readonly #options: DialOptions & { readonly events: SocketEvents };
  readonly #route: Route;
  readonly #reader = new RecordReader(MAX_FRAME_BYTES + RECORD_OVERHEAD_BYTES);
  #posts: Agent | undefined;
  #response: IncomingMessage | undefined;
  #timer: NodeJS.Timeout | undefined;
  #id = '';
  #maxPostBytes = 0;
  #sequence = 0;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isPosting = false;
  #isClosed = false;

  constructor(url: string, options: DialOptions & { readonly events: SocketEvents }) {
    this.#endpoint = url.replace(/^wss:/, 'https:');
    this.#options = options;
    this.#route = new Route(options.proxy);
  }

  get isReached(): boolean {
    return this.#route.isReached;
  }

  get bufferedBytes(): number {
    return this.#queuedBytes;
  }

  open(): void {
    const { ca, timeoutMs } = this.#options;
    const fail = (reason: string) => this.#end({ code: 1006, reason });
    try {
      if (ca === '') throw new Error('relay.caFile is empty or cannot be read');
      const down = this.#request('down', { agent: this.#route.agent(false), body: '' });
      this.#route.follow(down);
      down.on('response', (response) => this.#receive(response));
      down.on('error', (error) => fail(this.#route.explain(error.message)));
      this.#timer = setTimeout(() => {
        down.destroy();
        const what =
          'the answer to an HTTP stream does not arrive; a proxy on the way may hold it back';
        fail(this.#route.isReached ? what : this.#route.explain('no connection in time'));
      }, timeoutMs);
    } catch (error) {
      // Deferred like any other failure: the caller listens once it has the socket.
      setImmediate(() => fail(error instanceof Error ? error.message : String(error)));
    }
  }

  send(bytes: Uint8Array): void {
    this.#enqueue(encodeRecord({ case: 'frame', value: bytes }));
  }

  close(code: number, reason: string): void {
    this.#enqueue(encodeRecord({ case: 'close', value: { code, reason } }));
  }

  terminate(): void {
    this.#end({ code: 1006, reason: '' });
  }

  #request(
    path: 'down' | 'up',
    { agent, body, headers = {} }: { agent: Agent; body: Uint8Array | ''; headers?: object },
  ) {
    const { ca } = this.#options;
    const sent = request(`${this.#endpoint}/${path}`, {
      ...{ agent, ca, minVersion: 'TLSv1.2', method: 'POST' },
      headers: { 'content-type': STREAM_CONTENT_TYPE, 'content-length': body.length, ...headers },
    });
    return sent.end(body);
  }

  #receive(response: IncomingMessage): void {
    this.#response = response;
    const fail = (reason: string) => this.#end({ code: 1006, reason });
    if (response.statusCode !== 200) {
      endOf(response).then((end) =>
        this.#end(end.code === 1006 ? { ...end, reason: this.#route.explain(end.reason) } : end),
      );
      return;
    }
    response.on('error', (error) => fail(error.message));
    response.on('close', () => fail('the HTTP stream broke off'));
    response.on('data', (chunk: Buffer) => {
      const { value, error } = this.#reader.read(chunk);
      for (const record of value ?? []) if (!this.#isClosed) this.#hear(record);
      if (error !== undefined) this.#end({ code: 1002, reason: error });
    });
  }

  #hear(record: Record): void {
    const { events } = this.#options;
    switch (record.case) {
      case 'opened':
        if (this.#id !== '') break;
        clearTimeout(this.#timer);
        this.#id = record.value.id;
        this.#maxPostBytes = record.value.maxPostBytes;
        this.#posts = this.#route.agent(true);
        events.onOpen();
        this.#post();
        break;
      case 'frame':
        events.onMessage(record.value);
        break;
      case 'ping':
        events.onSign();
        // One answers every ping before it, however many a relay sends without taking a POST.
        if (!this.#queue.includes(PONG)) this.#enqueue(PONG);
        break;
      case 'close':
        this.#end(record.value);
        break;
      default:
        // A record of a later release.
        events.onSign();
    }
  }

  #enqueue(record: Uint8Array): void {
    if (this.#isClosed) return;
    this.#queue.push(record);
    this.#queuedBytes += record.length;
    // What is sent in one turn of the event loop shares a POST.
    if (this.#queue.length === 1) queueMicrotask(() => this.#post());
  }

  #post(): void {
    if (this.#isPosting || this.#queue.length === 0 || this.#id === '' || this.#isClosed) return;
    this.#isPosting = true;
    let bytes = 0;
    const fits = this.#queue.findIndex((record, index) => {
      bytes += record.length;
      return bytes > this.#maxPostBytes || index === MAX_POST_RECORDS;
    });
    // A record that is larger than any POST is sent alone, and refused.
    const records = this.#queue.splice(0, fits < 0 ? this.#queue.length : Math.max(1, fits));
    this.#attempt(Buffer.concat(records), 0);
  }

  #attempt(body: Uint8Array, repeats: number): void {
    if (this.#isClosed || this.#posts === undefined) return;
    const up = this.#request('up', {
      ...{ agent: this.#posts, body },
      headers: { [STREAM_ID_HEADER]: this.#id, [STREAM_SEQUENCE_HEADER]: this.#sequence },
    });
    let status = 0;
    up.setTimeout(POST_TIMEOUT_MS, () => up.destroy(new Error('a POST is not answered')));
    up.on('response', (response) => {
      status = response.statusCode ?? 0;
      response.resume();
      response.on('error', () => {});
      response.once('close', () => {
        if (status === 204) this.#posted(body.length);
        else this.#broken(`the relay, or a proxy on the way, answers a POST with HTTP ${status}`);
      });
    });
    up.on('error', (error) => {
      if (status !== 0) return;
      if (repeats < MAX_REPEATS) this.#attempt(body, repeats + 1);
      else this.#broken(`a POST fails: ${error.message}`);
    });
  }

  #posted(bytes: number): void {
    this.#isPosting = false;
    this.#sequence += 1;
    this.#queuedBytes -= bytes;
    this.#post();
  }

  #broken(reason: string): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.#end({ code: 1006, reason }), LAST_RECORD_MS);
  }

  #end({ code, reason }: SocketEnd): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#response?.destroy();
    this.#route.end();
    this.#options.events.onClose({ code, reason });
  }
}
