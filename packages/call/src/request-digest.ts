import { createHash } from 'node:crypto';

export interface McpRequest {
  /** A server of the device's catalog, such as fs. */
  readonly server: string;
  /** Such as tools/call. */
  readonly method: string;
  /** Canonical JSON (RFC 8785). */
  readonly params: Uint8Array;
}

/**
 * SHA-256 of {"method","params","server"} as canonical JSON. The members are
 * in canonical order, and JSON.stringify writes strings as RFC 8785 asks.
 */
export function requestDigest({ server, method, params }: McpRequest): Uint8Array {
  return createHash('sha256')
    .update(`{"method":${JSON.stringify(method)},"params":`)
    .update(params)
    .update(`,"server":${JSON.stringify(server)}}`)
    .digest();
}
