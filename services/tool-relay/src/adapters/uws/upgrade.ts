import type { HttpRequest, HttpResponse, us_socket_context_t } from 'uWebSockets.js';
import { type Endpoint, endpointPaths, type SocketEngineOptions } from '../../ports.ts';
import { reasonPhrases, refusalBody } from '../refusal.ts';
import type { Outbox } from './outbox.ts';
import { type UserData, UwsSocket } from './socket.ts';

type Upgrade = (res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => void;

const failed = { status: 503, id: 'internal', message: 'internal error' } as const;

export function upgradeHandler(
  endpoint: Endpoint,
  options: SocketEngineOptions,
  outbox: Outbox,
): Upgrade {
  return (res, req, context) => {
    const header = (name: string) => req.getHeader(`sec-websocket-${name}`);
    const authorization = req.getHeader('authorization');
    try {
      const { listener, refusal } = options.admit({
        endpoint,
        address: addressOf(res),
        authorization,
      });
      if (listener === undefined) {
        refuse(res, { ...refusal, id: refusal.error.id, message: refusal.error.message });
        return;
      }
      const peer = new UwsSocket(listener, outbox);
      const data: UserData = { peer };
      res.upgrade(data, header('key'), header('protocol'), header('extensions'), context);
    } catch (error) {
      // An exception must not reach native code; the peer gets an answer instead.
      options.onFailure(error);
      refuse(res, failed);
    }
  };
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

function refuse(res: HttpResponse, { status, id, message }: Answer): void {
  res.writeStatus(`${status} ${reasonPhrases[status]}`);
  res.writeHeader('content-type', 'application/json');
  res.end(refusalBody(id, message), true);
}

function addressOf(res: HttpResponse): string {
  return Buffer.from(res.getRemoteAddressAsText()).toString('latin1');
}
