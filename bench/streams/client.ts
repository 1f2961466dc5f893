import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { ChatRequestSchema } from '@zerolatency/proto/agent';
import { lifetime } from '../lifetime.ts';

export interface TimedTurn {
  readonly firstUs: number;
  readonly wholeUs: number;
  readonly messages: number;
}

/** Asks for one turn, and times its messages without reading more than their length. */
export type AskTurn = (text: string, model?: string) => Promise<TimedTurn>;

const HEAD_BYTES = 5;

export interface RpcTarget {
  readonly url: string;
  readonly caFile: string;
  /** Empty for a server that asks for no token. */
  readonly token: string;
}

/** One connection, as of a BFF. */
export function rpcClient({ url, caFile, token }: RpcTarget): AskTurn {
  const session = connect(url, { ca: readFileSync(caFile) });
  lifetime.after(() => session.close());
  const headers = {
    ...{ ':method': 'POST', ':path': '/zerolatency.agent.v1.AgentService/Chat' },
    ...{ 'content-type': 'application/grpc' },
    ...(token !== '' && { authorization: `Bearer ${token}` }),
  };
  return (text, model = '') => askOver(session, headers, { text, model });
}

async function askOver(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  start: { readonly text: string; readonly model: string },
): Promise<TimedTurn> {
  const message = toBinary(ChatRequestSchema, create(ChatRequestSchema, { start }));
  const startedMs = performance.now();
  const sinceUs = () => (performance.now() - startedMs) * 1000;
  const stream = session.request(headers);
  const lengths = new EnvelopeCounter();
  let firstUs = 0;
  let status: unknown;
  stream.on('response', (head) => {
    status = head['grpc-status'];
  });
  stream.on('trailers', (trailers) => {
    status = trailers['grpc-status'];
  });
  stream.on('data', (bytes: Buffer) => {
    if (firstUs === 0) firstUs = sinceUs();
    lengths.read(bytes);
  });
  stream.end(encodeEnvelope(0, message));
  await new Promise((resolve, reject) => {
    stream.once('error', reject);
    stream.once('close', resolve);
  });
  if (status !== '0') throw new Error(`a turn ended with status ${status}`);
  return { firstUs, wholeUs: sinceUs(), messages: lengths.count };
}

/** Counts the messages of a stream by their heads. */
class EnvelopeCounter {
  count = 0;
  #head = Buffer.alloc(0);
  #body = 0;

  read(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#body > 0) {
        const skipped = Math.min(this.#body, rest.length);
        this.#body -= skipped;
        rest = rest.subarray(skipped);
        continue;
      }
      const missing = HEAD_BYTES - this.#head.length;
      this.#head = Buffer.concat([this.#head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#head.length < HEAD_BYTES) return;
      this.count += 1;
      this.#body = this.#head.readUInt32BE(1);
      this.#head = Buffer.alloc(0);
    }
  }
}

interface PlainTarget {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyOf: (text: string) => string;
}

/** The same over server-sent events on HTTP/1.1, as peers have it. */
export function plainClient({ url, headers, bodyOf }: PlainTarget): AskTurn {
  const agent = new Agent({ keepAlive: true });
  lifetime.after(() => agent.destroy());
  return async (text) => {
    const startedMs = performance.now();
    const sinceUs = () => (performance.now() - startedMs) * 1000;
    let firstUs = 0;
    let messages = 0;
    await new Promise<void>((resolve, reject) => {
      const asked = request(url, { method: 'POST', agent, headers }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`${url}: ${response.statusCode}`));
        response.on('data', (bytes: Buffer) => {
          if (firstUs === 0) firstUs = sinceUs();
          for (let at = bytes.indexOf('data:'); at !== -1; at = bytes.indexOf('data:', at + 1))
            messages += 1;
        });
        response.once('end', resolve).once('error', reject);
      });
      asked.once('error', reject).end(bodyOf(text));
    });
    return { firstUs, wholeUs: sinceUs(), messages };
  };
}
