import { EventEmitter, once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { encodeRecord, MAX_FRAME_BYTES, RecordReader } from '@zerolatency/frame';

const MAX_RECORD_BYTES = 2 * MAX_FRAME_BYTES;
const HEADERS = { 'content-type': 'application/octet-stream' };

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** The client's half of an HTTP stream, with the events and methods of a WebSocket that tests use. */
export class StreamClient extends EventEmitter {
  readonly #url: string;
  readonly #options: RequestOptions;
  readonly #agent: Agent;
  readonly #reader = new RecordReader(MAX_RECORD_BYTES);
  readonly answers: number[] = [];
  id = '';
  #response: IncomingMessage | undefined;
  #sequence = 0;
  #sending = Promise.resolve();
  #isClosed = false;

  /** `url` is the device endpoint. */
  constructor(url: string, { headers = {}, ...options }: RequestOptions = {}) {
    super();
    this.#url = url.replace(/^wss/, 'https');
    this.#options = { ...options, headers: { ...HEADERS, ...headers } };
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const down = request(`${this.#url}/down`, {
      ...this.#options,
      method: 'POST',
      agent: false,
      headers: { ...this.#options.headers, 'content-length': 0 },
    });
    down.on('error', () => this.#close(1006, ''));
    down.on('response', (response) => void this.#receive(response));
    down.end();
  }

  send(bytes: Uint8Array): void {
    this.post(encodeRecord({ case: 'frame', value: bytes }));
  }

  /** One POST after the other, each with the next number. */
  post(body: Uint8Array): void {
    this.#sending = this.#sending
      .then(() => this.postAs({ sequence: this.#sequence++, body }))
      .then(({ status }) => void this.answers.push(status))
      .catch(() => {});
  }

  async postAs({
    body = Buffer.alloc(0),
    sequence,
    headers = {},
    agent = this.#agent,
  }: {
    readonly body?: Uint8Array;
    readonly sequence: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly agent?: Agent | false;
  }): Promise<Answer> {
    const up = request(`${this.#url}/up`, {
      ...this.#options,
      method: 'POST',
      agent,
      headers: {
        ...this.#options.headers,
        'content-length': body.length,
        'zl-stream': this.id,
        'zl-sequence': sequence,
        ...headers,
      },
    });
    up.end(body);
    const [response] = await once(up, 'response');
    return { status: response.statusCode, body: await text(response) };
  }

  pause(): void {
    this.#response?.pause();
  }

  resume(): void {
    this.#response?.resume();
  }

  close(code: number): void {
    this.post(encodeRecord({ case: 'close', value: { code, reason: '' } }));
  }

  terminate(): void {
    this.#response?.destroy();
    this.#close(1006, '');
  }

  async #receive(response: IncomingMessage): Promise<void> {
    if (response.statusCode !== 200) {
      this.emit('unexpected-response', undefined, response);
      return;
    }
    this.#response = response;
    response.on('error', () => {});
    response.on('close', () => this.#close(1006, ''));
    response.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  #read(chunk: Buffer): void {
    for (const record of this.#reader.read(chunk).value ?? []) {
      if (record.case === 'opened') {
        this.id = record.value.id;
        this.emit('open');
      } else if (record.case === 'frame') {
        this.emit('message', Buffer.from(record.value), true);
      } else if (record.case === 'ping') {
        this.emit('ping');
        this.post(encodeRecord({ case: 'pong', value: {} }));
      } else if (record.case === 'close') {
        this.#close(record.value.code, record.value.reason);
      }
    }
  }

  #close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#agent.destroy();
    this.emit('close', code, Buffer.from(reason));
  }
}
