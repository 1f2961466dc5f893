import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { fromConnectError } from '@zerolatency/service/rpc';

export interface RemoteService {
  readonly url: string;
  /** Before a connection was open, so nothing was sent. */
  readonly unreachable: Extract<
    ErrorId,
    'host.unreachable' | 'relay.unreachable' | 'registrar.unreachable'
  >;
  /** When a connection broke, so that the request may have taken effect. */
  readonly lost: Extract<ErrorId, 'host.lost' | 'relay.unreachable' | 'registrar.unreachable'>;
}

/** Node's codes for a peer certificate that it does not trust. */
const CERTIFICATE_FAULT = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;
/** Without details from the peer, these codes describe the connection. */
const BROKEN_CODES = [Code.Canceled, Code.Aborted, Code.Unavailable, Code.DeadlineExceeded];

/** Converts a failed RPC to the error that its caller sees. */
export function connectionError(reason: unknown, peer: RemoteService): ZlError {
  const error = fromConnectError(reason);
  if (!(reason instanceof ConnectError) || cameFromPeer(reason, error)) return error;
  const { cause, rawMessage } = reason;
  const { url } = peer;
  if (failedToConnect(cause)) {
    return new ZlError(peer.unreachable, `${url}: ${rawMessage}`, { cause: reason });
  }
  if (!(cause instanceof Error) && !BROKEN_CODES.includes(reason.code)) return error;
  return new ZlError(peer.lost, `the connection to ${url} broke: ${rawMessage}`, { cause: reason });
}

/** The peer sent it, with an entry of the error catalogue as a detail. */
function cameFromPeer(reason: ConnectError, error: ZlError): boolean {
  return reason.details.length > 0 && error.id !== 'internal';
}

function failedToConnect(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  if ('syscall' in cause && (cause.syscall === 'connect' || cause.syscall === 'getaddrinfo')) {
    return true;
  }
  return 'code' in cause && CERTIFICATE_FAULT.test(String(cause.code));
}
