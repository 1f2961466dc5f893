import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocketServer } from 'ws';
import {
  type Endpoint,
  endpointPaths,
  type SocketEngineOptions,
  type SocketListener,
} from '../../ports.ts';
import { reasonPhrases, refusalBody } from '../refusal.ts';
import { WsSocket } from './socket.ts';

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const failed = { status: 503, id: 'internal', message: 'internal error' } as const;

export function upgradeHandler(server: WebSocketServer, options: SocketEngineOptions): Upgrade {
  return (request, socket, head) => {
    socket.on('error', ignore);
    const endpoint = endpointOf(request);
    if (endpoint === undefined) {
      refuse(socket, unknownPath());
      return;
    }
    const { authorization = '' } = request.headers;
    const address = request.socket.remoteAddress ?? '';
    try {
      const { listener, refusal } = options.admit({ endpoint, address, authorization });
      if (listener !== undefined) accept({ request, socket, head }, listener, { server, options });
      else refuse(socket, { ...refusal, id: refusal.error.id, message: refusal.error.message });
    } catch (error) {
      // The peer gets an answer, and the log the error.
      options.onFailure(error);
      refuse(socket, failed);
    }
  };
}

interface Accepting {
  readonly server: WebSocketServer;
  readonly options: SocketEngineOptions;
}

interface Handshake {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

function accept(
  { request, socket, head }: Handshake,
  listener: SocketListener,
  { server, options }: Accepting,
): void {
  const abandon = () => listener.onAbandoned();
  // ws answers a handshake it does not like by itself, and then never calls back.
  socket.once('close', abandon);
  server.handleUpgrade(request, socket, head, (native) => {
    socket.off('close', abandon);
    socket.off('error', ignore);
    request.socket.setTimeout(options.idleTimeoutMs, () => native.terminate());
    new WsSocket(native, listener, options.onFailure).opened();
  });
}

function endpointOf(request: IncomingMessage): Endpoint | undefined {
  const path = request.url?.split('?', 1)[0];
  return (['device', 'link'] as const).find((endpoint) => endpointPaths[endpoint] === path);
}

interface Answer {
  readonly status: keyof typeof reasonPhrases;
  readonly id: string;
  readonly message: string;
}

/** The answer to whatever is not an endpoint. */
export function unknownPath(): Answer {
  const paths = Object.values(endpointPaths).join(' and ');
  return { status: 404, id: 'request.invalid', message: `WebSockets are at ${paths}` };
}

function refuse(socket: Duplex, { status, id, message }: Answer): void {
  const body = refusalBody(id, message);
  const head = [
    `HTTP/1.1 ${status} ${reasonPhrases[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function ignore(): void {
  // A connection that breaks before it is a socket is nobody's loss.
}
