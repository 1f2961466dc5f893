import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { ZlError } from '@zerolatency/errors';

interface Asked {
  readonly signal?: AbortSignal;
  readonly timeoutMs: number;
}

/** What the SDK rejects with, as an error of the catalogue. */
export function callError(cause: unknown, { signal, timeoutMs }: Asked): ZlError {
  if (cause instanceof ZlError) return cause;
  if (signal?.aborted) {
    if (signal.reason instanceof ZlError) return signal.reason;
    return new ZlError('call.cancelled', 'the call was cancelled', { cause });
  }
  if (cause instanceof McpError) return fromMcpError(cause, timeoutMs);
  if (cause instanceof Error && cause.message === 'Not connected') {
    return new ZlError('tool.server_down', 'the server is not running', { cause });
  }
  // The SDK's schemas refused what the server answered.
  return new ZlError('tool.server_protocol', 'the answer is not valid MCP', { cause });
}

function fromMcpError(cause: McpError, timeoutMs: number): ZlError {
  switch (cause.code) {
    case ErrorCode.ConnectionClosed:
      return new ZlError('tool.server_down', 'the server ended during the call', { cause });
    case ErrorCode.RequestTimeout:
      return new ZlError('tool.timeout', `no answer within ${timeoutMs} ms`, { cause });
    case ErrorCode.MethodNotFound:
      return new ZlError('tool.unknown', cause.message, { cause });
    case ErrorCode.InvalidParams:
      return new ZlError('tool.arguments_invalid', cause.message, { cause });
    default:
      return new ZlError('tool.failed', cause.message, { cause });
  }
}
