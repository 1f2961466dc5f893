import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { ConnectError } from '@connectrpc/connect';
import { errorFromJson } from '@connectrpc/connect/protocol-connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import type { ErrorId } from '@zerolatency/errors';
import { fromConnectError } from '@zerolatency/service/rpc';

interface RawRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** The HTTP status over Connect; over gRPC it is always 200. */
  readonly status?: number;
}

const GARBAGE = Buffer.from([0xff, 0xff, 0xff]);
const CONNECT = { 'content-type': 'application/proto' };
const GRPC = { 'content-type': 'application/grpc' };

/** Requests that no server can read, by the error that each deserves. */
function unreadableRequests(maxBytes: number): (RawRequest & { readonly id: ErrorId })[] {
  const long = Buffer.alloc(maxBytes + 1);
  const announced = Buffer.concat([envelope(Buffer.alloc(0)).fill(0x7f, 1), Buffer.alloc(10)]);
  return [
    { id: 'request.invalid', headers: GRPC, body: envelope(GARBAGE) },
    { id: 'request.invalid', headers: GRPC, body: Buffer.from([0, 0, 0]) },
    { id: 'request.too_large', headers: GRPC, body: envelope(long) },
    { id: 'request.too_large', headers: GRPC, body: announced },
    { id: 'request.unimplemented', headers: GRPC },
    { id: 'request.invalid', headers: { ...GRPC, 'grpc-timeout': 'soon' }, body: envelope() },
    {
      id: 'request.unimplemented',
      headers: { ...GRPC, 'grpc-encoding': 'zstd' },
      body: envelope(),
    },
    { id: 'request.invalid', headers: CONNECT, body: GARBAGE, status: 400 },
    { id: 'request.too_large', headers: CONNECT, body: long, status: 429 },
    {
      id: 'request.unimplemented',
      headers: { ...CONNECT, 'content-encoding': 'zstd' },
      status: 501,
    },
    {
      id: 'request.invalid',
      headers: { ...CONNECT, 'connect-timeout-ms': 'soon' },
      status: 400,
    },
    {
      id: 'request.invalid',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{]'),
      status: 400,
    },
    { id: 'request.invalid', headers: { 'content-type': 'text/plain' }, status: 415 },
    { id: 'request.invalid', headers: { 'content-type': 'application/grpc+thrift' } },
    { id: 'request.invalid', headers: { ...GRPC, ':method': 'PUT' } },
  ];
}

function envelope(message: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The HTTP status and id of the catalogue by which a server should refuse such requests, and those by which it does. */
export async function refusalsOf(
  session: ClientHttp2Session,
  { path, maxBytes }: { readonly path: string; readonly maxBytes: number },
): Promise<{ readonly expected: readonly string[]; readonly actual: readonly string[] }> {
  const requests = unreadableRequests(maxBytes);
  const named = (id: string, status: unknown, { headers }: RawRequest) =>
    `${status} ${id} to ${JSON.stringify(headers)}`;
  const expected = requests.map((request) => named(request.id, request.status ?? 200, request));
  const actual: string[] = [];
  for (const request of requests) {
    const { status, error } = await refusalOf(session, path, request);
    const id = error.details.length > 1 ? fromConnectError(error).id : `no detail: ${error}`;
    actual.push(named(id, status, request));
  }
  return { expected, actual };
}

async function refusalOf(
  session: ClientHttp2Session,
  path: string,
  { headers, body }: RawRequest,
): Promise<{ readonly status: unknown; readonly error: ConnectError }> {
  const stream = session.request({ ':method': 'POST', ':path': path, ...headers });
  const received: IncomingHttpHeaders = {};
  stream.on('response', (head) => Object.assign(received, head));
  stream.on('trailers', (trailers) => Object.assign(received, trailers));
  stream.end(body);
  const answer = Buffer.concat(await stream.toArray());
  const status = received[':status'];
  const none = new ConnectError(`HTTP ${status} and no error`);
  if (received['grpc-status'] === undefined) {
    const isEmpty = answer.length === 0;
    return {
      status,
      error: isEmpty ? none : errorFromJson(JSON.parse(`${answer}`), undefined, none),
    };
  }
  const trailers = Object.entries(received).filter(([name]) => name.startsWith('grpc-'));
  const trailer = new Headers(trailers.map(([name, value]) => [name, `${value}`]));
  return { status, error: findTrailerError(trailer) ?? none };
}
