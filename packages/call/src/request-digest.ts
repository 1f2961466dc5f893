import { createHash } from 'node:crypto';

export interface McpRequest {
  /** A server of the device's catalog, such as fs. */
  readonly server: string;
  /** Such as tools/call. */
  readonly method: string;
  /** Canonical JSON (RFC 8785). */
  readonly params: Uint8Array;
  /** Random for each call, so that neither this digest nor a receipt's reveals short arguments. */
  readonly argumentSalt: Uint8Array;
}

/**
 * SHA-256 of {"argumentSalt","method","params","server"} as canonical JSON. The members are
 * in canonical order, and JSON.stringify writes strings as RFC 8785 asks.
 */
export function requestDigest({ server, method, params, argumentSalt }: McpRequest): Uint8Array {
  const salt = Buffer.from(argumentSalt).toString('hex');
  return createHash('sha256')
    .update(`{"argumentSalt":"${salt}","method":${JSON.stringify(method)},"params":`)
    .update(params)
    .update(`,"server":${JSON.stringify(server)}}`)
    .digest();
}
