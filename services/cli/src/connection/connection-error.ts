import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { fromConnectError } from '@zerolatency/service/rpc';

export interface Peer {
  readonly url: string;
  /** When no connection came about, so that nothing was asked. */
  readonly unreachable: Extract<ErrorId, 'host.unreachable' | 'relay.unreachable'>;
  /** When a connection broke, and what was asked may have happened. */
  readonly lost: Extract<ErrorId, 'host.lost' | 'relay.unreachable'>;
}

/** Names what Node gives to a peer's certificate that is not believed. */
const certificateFault = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;
/** Not told by the peer, so they tell of the way to it. */
const brokenCodes = [Code.Canceled, Code.Aborted, Code.Unavailable, Code.DeadlineExceeded];

/** What a failed RPC means to whoever made it. */
export function connectionError(reason: unknown, peer: Peer): ZlError {
  const error = fromConnectError(reason);
  if (!(reason instanceof ConnectError) || wasTold(reason, error)) return error;
  const { cause, rawMessage } = reason;
  const { url } = peer;
  if (failedToConnect(cause)) {
    return new ZlError(peer.unreachable, `${url}: ${rawMessage}`, { cause: reason });
  }
  if (!(cause instanceof Error) && !brokenCodes.includes(reason.code)) return error;
  return new ZlError(peer.lost, `the connection to ${url} broke: ${rawMessage}`, { cause: reason });
}

/** By the peer, with an entry of the catalogue as the detail. */
function wasTold(reason: ConnectError, error: ZlError): boolean {
  return reason.details.length > 0 && error.id !== 'internal';
}

function failedToConnect(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  if ('syscall' in cause && (cause.syscall === 'connect' || cause.syscall === 'getaddrinfo')) {
    return true;
  }
  return 'code' in cause && certificateFault.test(String(cause.code));
}
