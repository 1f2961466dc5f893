import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocketServer } from 'ws';
import {
  type Admission,
  type Endpoint,
  endpointPaths,
  type SocketEngineOptions,
} from '../../ports.ts';
import { reasonPhrases, refusalBody } from '../refusal.ts';
import { WsSocket } from './socket.ts';

type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const failed = { status: 503, id: 'internal', message: 'internal error' } as const;

/** Asks whether the socket may be, which may take a while; the peer may have left by then. */
export function upgradeHandler(server: WebSocketServer, options: SocketEngineOptions): Upgrade {
  return (request, socket, head) => {
    socket.on('error', ignore);
    const endpoint = endpointOf(request);
    if (endpoint === undefined) {
      refuse(socket, unknownPath());
      return;
    }
    const settle = (admission: Admission) => {
      if (admission.listener === undefined) {
        const { status, error } = admission.refusal;
        refuse(socket, { status, id: error.id, message: error.message });
        return;
      }
      const { listener } = admission;
      if (socket.destroyed) {
        listener.onAbandoned();
        return;
      }
      const abandon = () => listener.onAbandoned();
      // ws answers a handshake it does not like by itself, and then never calls back.
      socket.once('close', abandon);
      server.handleUpgrade(request, socket, head, (native) => {
        socket.off('close', abandon);
        socket.off('error', ignore);
        request.socket.setTimeout(options.idleTimeoutMs, () => native.terminate());
        new WsSocket(native, listener, options.onFailure).opened();
      });
    };
    const fail = (error: unknown) => {
      options.onFailure(error);
      refuse(socket, failed);
    };
    const { authorization = '' } = request.headers;
    const address = request.socket.remoteAddress ?? '';
    try {
      const admission = options.admit({ endpoint, address, authorization });
      if (admission instanceof Promise) admission.then(settle).catch(fail);
      else settle(admission);
    } catch (error) {
      // The peer gets an answer, and the log the error.
      fail(error);
    }
  };
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
