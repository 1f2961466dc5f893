import {
  ENDPOINT_PATHS,
  type Socket,
  type SocketListener,
  type UpgradeRefusal,
} from '../sockets/socket-engine.ts';

/** What both engines answer and how both deliver. */

const REASON_PHRASES = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
} as const;

export interface UpgradeAnswer {
  readonly status: keyof typeof REASON_PHRASES;
  readonly reasonPhrase: string;
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

export function refusalAnswer({ status, error }: UpgradeRefusal): UpgradeAnswer {
  return answer(status, error.id, error.message);
}

function answer(status: UpgradeAnswer['status'], id: string, message: string): UpgradeAnswer {
  const body = `${JSON.stringify({ id, message })}\n`;
  return { status, reasonPhrase: REASON_PHRASES[status], body };
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
