import {
  ProtocolError,
  ProtocolErrorCode,
  SdkError,
  SdkErrorCode,
} from '@modelcontextprotocol/client';
import { ZlError } from '@zerolatency/errors';

interface RequestContext {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** Translates what the MCP client rejects with into an error of the catalogue. */
export function mcpError(cause: unknown, { signal, timeoutMs }: RequestContext): ZlError {
  if (cause instanceof ZlError) return cause;
  if (signal?.aborted) {
    if (signal.reason instanceof ZlError) return signal.reason;
    return new ZlError('call.cancelled', 'the call was cancelled', { cause });
  }
  // The negotiation wraps what our transport rejected with.
  if (cause instanceof SdkError && cause.cause instanceof ZlError) return cause.cause;
  if (cause instanceof SdkError) return fromSdkError(cause, timeoutMs);
  if (cause instanceof ProtocolError) return fromProtocolError(cause);
  if (cause instanceof Error && cause.message === 'Not connected') {
    return new ZlError('tool.server_down', 'the server is not running', { cause });
  }
  return new ZlError('tool.server_protocol', 'the answer is not valid MCP', { cause });
}

function fromSdkError(cause: SdkError, timeoutMs: number): ZlError {
  switch (cause.code) {
    case SdkErrorCode.ConnectionClosed:
    case SdkErrorCode.NotConnected:
      return new ZlError('tool.server_down', 'the server ended during the call', { cause });
    case SdkErrorCode.RequestTimeout:
      return new ZlError('tool.timeout', `no answer within ${timeoutMs} ms`, { cause });
    case SdkErrorCode.UnsupportedResultType:
    case SdkErrorCode.CapabilityNotSupported:
      return new ZlError('tool.failed', 'the tool asks for input that cannot be given', { cause });
    default:
      return new ZlError('tool.server_protocol', 'the answer is not valid MCP', { cause });
  }
}

function fromProtocolError(cause: ProtocolError): ZlError {
  switch (cause.code) {
    case ProtocolErrorCode.MethodNotFound:
      return new ZlError('tool.unknown', cause.message, { cause });
    case ProtocolErrorCode.InvalidParams:
      return new ZlError('tool.arguments_invalid', cause.message, { cause });
    default:
      return new ZlError('tool.failed', cause.message, { cause });
  }
}
