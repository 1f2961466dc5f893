import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  type ErrorCode,
  type ErrorId,
  type FromUnknownOptions,
  fromUnknown,
  isErrorId,
  toErrorMessage,
  ZlError,
} from '@zerolatency/errors';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from '@zerolatency/proto/error-details';
import { ErrorSchema } from '@zerolatency/proto/errors';
import { activeTraceId } from '../telemetry/tracing.ts';
import { durationFromMicros, durationMicros } from './durations.ts';

const ERROR_DOMAIN = 'zerolatency';
/** Used when the time of recovery is unknown: a client's backoff begins here, and a person can wait for it. */
const RETRY_DELAY_MS = 1000;
const RETRY_AFTER = 'retry-after';

const CODES = {
  CANCELLED: Code.Canceled,
  UNKNOWN: Code.Unknown,
  INVALID_ARGUMENT: Code.InvalidArgument,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  OUT_OF_RANGE: Code.OutOfRange,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  DATA_LOSS: Code.DataLoss,
  UNAUTHENTICATED: Code.Unauthenticated,
} as const satisfies Record<ErrorCode, Code>;

/** What a code means when the peer, a proxy or a library sent no detail of ours. */
const FOREIGN_IDS = {
  [Code.Canceled]: 'operation.cancelled',
  [Code.Unknown]: 'internal',
  [Code.InvalidArgument]: 'request.invalid',
  [Code.DeadlineExceeded]: 'peer.timeout',
  [Code.NotFound]: 'request.not_found',
  [Code.AlreadyExists]: 'request.conflict',
  [Code.PermissionDenied]: 'identity.forbidden',
  // Connect and gRPC libraries send it for a message above the limit.
  [Code.ResourceExhausted]: 'request.too_large',
  [Code.FailedPrecondition]: 'request.conflict',
  // connect-node sends it for a connection that was reset.
  [Code.Aborted]: 'peer.lost',
  [Code.OutOfRange]: 'request.invalid',
  [Code.Unimplemented]: 'request.unimplemented',
  [Code.Internal]: 'internal',
  [Code.Unavailable]: 'peer.unavailable',
  [Code.DataLoss]: 'internal',
  [Code.Unauthenticated]: 'identity.invalid',
} as const satisfies Record<Code, ErrorId>;

/** An RPC failure with the catalogue entry and the google.rpc details that fit. */
export function toConnectError(reason: unknown, options?: FromUnknownOptions): ConnectError {
  const error = fromConnectError(reason, options);
  const { message, code, retryAfterMs } = error;
  // For proxies and clients that read no details: whole seconds, as HTTP has them.
  const metadata =
    error.retryable && retryAfterMs !== undefined
      ? { [RETRY_AFTER]: `${Math.ceil(retryAfterMs / 1000)}` }
      : undefined;
  return new ConnectError(message, CODES[code], metadata, detailsOf(error), error);
}

/** Anything caught around an RPC, as an error of the catalogue. */
export function fromConnectError(reason: unknown, options: FromUnknownOptions = {}): ZlError {
  if (!(reason instanceof ConnectError)) return fromUnknown(reason, options);
  if (reason.cause instanceof ZlError) return reason.cause;
  const detail = reason.findDetails(ErrorSchema)[0];
  if (detail !== undefined && isErrorId(detail.id)) {
    // Only the peer knows what had happened; without its leave nothing may be repeated.
    const happened = detail.retryable ? 'nothing' : 'may have run';
    const told = { ...fieldOf(reason), ...retryAfterOf(reason) };
    return new ZlError(detail.id, detail.message, { cause: reason, happened, ...told });
  }
  const isAbort = reason.code === Code.Canceled && options.aborted !== undefined;
  const id = isAbort ? options.aborted : FOREIGN_IDS[reason.code];
  // A library's message may hold what no client may see, as that of any unknown error.
  if (id === undefined || id === 'internal') return fromUnknown(reason);
  return new ZlError(id, reason.rawMessage, { cause: reason });
}

/** Connect reports an unreadable message as internal; a broken stream has its cause beside it. */
export function readingError(reason: unknown, options?: FromUnknownOptions): ZlError {
  const isMessage = reason instanceof ConnectError && reason.code === Code.Internal;
  if (!isMessage || reason.cause !== undefined) return fromConnectError(reason, options);
  return new ZlError('request.invalid', reason.rawMessage, { cause: reason });
}

function fieldOf(reason: ConnectError): { field?: string } {
  const field = reason.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field;
  return field === undefined ? {} : { field };
}

function retryAfterOf(reason: ConnectError): { retryAfterMs?: number } {
  const delay = reason.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? {} : { retryAfterMs: durationMicros(delay) / 1000 };
}

function detailsOf(error: ZlError) {
  const { field, message: description, retryAfterMs = RETRY_DELAY_MS } = error;
  const retryDelay = durationFromMicros(retryAfterMs * 1000);
  const info = { reason: error.id, domain: ERROR_DOMAIN };
  return [
    detail(ErrorSchema, toErrorMessage(error, activeTraceId())),
    detail(ErrorInfoSchema, info),
    ...(field === undefined
      ? []
      : [detail(BadRequestSchema, { fieldViolations: [{ field, description }] })]),
    ...(error.retryable ? [detail(RetryInfoSchema, { retryDelay })] : []),
  ];
}

function detail<D extends DescMessage>(desc: D, value: MessageInitShape<D>) {
  return { desc, value };
}
