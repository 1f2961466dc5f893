import type { ErrorId } from '@zerolatency/errors';
import {
  type Arrival,
  ENDPOINT_PATHS,
  type Socket,
  type SocketEngineOptions,
  type SocketListener,
  type UpgradeRefusal,
} from '../sockets/socket-engine.ts';

/** What both engines answer and how both deliver. */

const REASON_PHRASES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  411: 'Length Required',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
} as const;

export interface UpgradeAnswer {
  readonly status: keyof typeof REASON_PHRASES;
  readonly reasonPhrase: string;
  readonly id: ErrorId;
  readonly body: string;
}

export const INTERNAL_ERROR = answer(503, 'internal', 'internal error');

export const UNKNOWN_PATH = answer(
  404,
  'request.invalid',
  `WebSockets are at ${Object.values(ENDPOINT_PATHS).join(' and ')}`,
);

export const TOO_MANY_CONNECTIONS = answer(
  429,
  'limit.exceeded',
  'too many connections from this address',
);

const NO_ADDRESS = answer(400, 'request.invalid', 'X-Forwarded-For does not say who connects');

interface Connected {
  readonly arrival: Arrival;
  readonly address: string;
  readonly forwardedFor: string;
}

/** Finds the address of the peer, which is behind a balancer where `address` is one. */
export function originOf(
  balancers: SocketEngineOptions['balancers'],
  { arrival, address, forwardedFor }: Connected,
): { readonly address: string } | { readonly refusal: UpgradeAnswer } {
  if (balancers.kind !== 'forwarded-for' || !balancers.trusts(address)) return { address };
  const origin = balancers.forwardedFor(forwardedFor);
  if (origin === 'own') return { address };
  if (origin !== 'unreadable') {
    return arrival.named(origin.address) ? origin : { refusal: TOO_MANY_CONNECTIONS };
  }
  arrival.named(undefined);
  return { refusal: NO_ADDRESS };
}

export function refusalAnswer({ status, error }: UpgradeRefusal): UpgradeAnswer {
  return answer(status, error.id, error.message);
}

export function answer(
  status: UpgradeAnswer['status'],
  id: ErrorId,
  message: string,
): UpgradeAnswer {
  const body = `${JSON.stringify({ id, message })}\n`;
  return { status, reasonPhrase: REASON_PHRASES[status], id, body };
}

/**
 * Ends one socket when its listener throws. An exception that reaches an
 * engine's callback would end the process.
 */
export function deliver(
  { socket, listener }: { readonly socket: Socket; readonly listener: SocketListener },
  bytes: Buffer,
  onFailure: (error: unknown) => void,
): void {
  try {
    listener.onMessage(bytes);
  } catch (error) {
    onFailure(error);
    socket.close(1011, 'internal');
    listener.onEnd('closed');
  }
}
