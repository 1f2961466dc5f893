import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorSchema } from '@zerolatency/proto/agent';
import { isErrorId } from './catalogue.ts';
import { ZlError } from './zl-error.ts';

/** The one way from anything caught to an error with an id. */
export function fromUnknown(reason: unknown): ZlError {
  if (reason instanceof ZlError) return reason;
  if (reason instanceof ConnectError) return fromConnectError(reason);
  if (reason instanceof Error && reason.name === 'AbortError') {
    // An abort carries why it was aborted; undici and Connect hide it in cause.
    return reason.cause instanceof ZlError
      ? reason.cause
      : new ZlError('turn.cancelled', 'cancelled', { cause: reason });
  }
  // The original message may hold anything, so it stays in the cause, for the log.
  return new ZlError('internal', 'internal error', { cause: reason });
}

/** As an RPC failure, with the catalogue entry as its detail. */
export function toConnectError(reason: unknown): ConnectError {
  const error = fromUnknown(reason);
  const detail = { desc: ErrorSchema, value: toErrorMessage(error) };
  return new ConnectError(error.message, error.code, undefined, [detail], error);
}

/** The fields of agent.v1.Error. */
export function toErrorMessage(error: ZlError) {
  const { id, message, retryable, help, docs } = error;
  return { id, message, retryable, help, docs };
}

function fromConnectError(error: ConnectError): ZlError {
  const detail = error.findDetails(ErrorSchema)[0];
  if (detail !== undefined && isErrorId(detail.id)) {
    return new ZlError(detail.id, detail.message, { cause: error });
  }
  switch (error.code) {
    case Code.Canceled:
      return new ZlError('turn.cancelled', error.rawMessage, { cause: error });
    case Code.InvalidArgument:
      return new ZlError('request.invalid', error.rawMessage, { cause: error });
    case Code.Unauthenticated:
      return new ZlError('identity.invalid', error.rawMessage, { cause: error });
    case Code.ResourceExhausted:
      return new ZlError('request.too_large', error.rawMessage, { cause: error });
    default:
      return new ZlError('internal', error.rawMessage, { cause: error });
  }
}
