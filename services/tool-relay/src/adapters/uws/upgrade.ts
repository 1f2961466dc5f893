import type { HttpRequest, HttpResponse, us_socket_context_t } from 'uWebSockets.js';
import {
  type Admission,
  type Endpoint,
  endpointPaths,
  type Refusal,
  type SocketEngineOptions,
} from '../../ports.ts';
import { reasonPhrases, refusalBody } from '../refusal.ts';
import type { Outbox } from './outbox.ts';
import { type UserData, UwsSocket } from './socket.ts';

type Upgrade = (res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => void;

const failed = { status: 503, id: 'internal', message: 'internal error' } as const;

/** Asks whether the socket may be, which may take a while; the request is gone by then. */
export function upgradeHandler(
  endpoint: Endpoint,
  options: SocketEngineOptions,
  outbox: Outbox,
): Upgrade {
  return (res, req, context) => {
    const handshake = {
      key: req.getHeader('sec-websocket-key'),
      protocol: req.getHeader('sec-websocket-protocol'),
      extensions: req.getHeader('sec-websocket-extensions'),
      context,
    };
    let isOpen = true;
    res.onAborted(() => {
      isOpen = false;
    });
    const settle = (admission: Admission) => {
      if (!isOpen) {
        admission.listener?.onAbandoned();
        return;
      }
      isOpen = false;
      res.cork(() => {
        if (admission.listener === undefined) refuse(res, toAnswer(admission.refusal));
        else accept(res, new UwsSocket(admission.listener, outbox), handshake);
      });
    };
    const fail = (error: unknown) => {
      options.onFailure(error);
      if (isOpen) res.cork(() => refuse(res, failed));
      isOpen = false;
    };
    const request = {
      endpoint,
      address: addressOf(res),
      authorization: req.getHeader('authorization'),
    };
    try {
      const admission = options.admit(request);
      if (admission instanceof Promise) admission.then(settle).catch(fail);
      else settle(admission);
    } catch (error) {
      // An exception must not reach native code; the peer gets an answer instead.
      fail(error);
    }
  };
}

interface Handshake {
  readonly key: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly context: us_socket_context_t;
}

function accept(res: HttpResponse, peer: UwsSocket, handshake: Handshake): void {
  const { key, protocol, extensions, context } = handshake;
  res.upgrade<UserData>({ peer }, key, protocol, extensions, context);
}

/** The answer to whatever is not an endpoint. */
export function refuseUnknownPath(res: HttpResponse): void {
  const paths = Object.values(endpointPaths).join(' and ');
  refuse(res, { status: 404, id: 'request.invalid', message: `WebSockets are at ${paths}` });
}

interface Answer {
  readonly status: keyof typeof reasonPhrases;
  readonly id: string;
  readonly message: string;
}

function toAnswer({ status, error }: Refusal): Answer {
  return { status, id: error.id, message: error.message };
}

function refuse(res: HttpResponse, { status, id, message }: Answer): void {
  res.writeStatus(`${status} ${reasonPhrases[status]}`);
  res.writeHeader('content-type', 'application/json');
  res.end(refusalBody(id, message), true);
}

function addressOf(res: HttpResponse): string {
  return Buffer.from(res.getRemoteAddressAsText()).toString('latin1');
}
