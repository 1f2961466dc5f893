import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { ZlError } from '@zerolatency/errors';
import type { Egress } from './egress.ts';

export interface DownloadOptions {
  readonly egress: Egress;
  /** PEM of the authority that issued the server's certificate; the system's authorities when absent. */
  readonly ca?: string | undefined;
  /** Covers name resolution, connection, headers and body. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface Document {
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
}

/**
 * Downloads a small document over HTTPS, from an address that egress allows. Redirects are not followed:
 * an operator has not approved their targets. @throws ZlError egress.refused, or an error with the reason in one line.
 */
export async function download(url: URL, options: DownloadOptions): Promise<Document> {
  const { egress, ca, timeoutMs, maxBytes } = options;
  if (url.protocol !== 'https:') throw new Error(`${url} is not an https:// URL`);
  egress.assertHost(url.hostname);
  const timeout = AbortSignal.timeout(timeoutMs);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = get(url, {
    ...(ca !== undefined && { ca }),
    lookup: egress.lookup,
    signal: AbortSignal.any([options.signal, timeout]),
    headers: { accept: 'application/json' },
    agent: false,
  });
  outgoing.on('response', resolve).on('error', reject);
  try {
    const response = await promise;
    const { statusCode = 0, headers } = response;
    if (statusCode !== 200) throw new Error(statusFault(statusCode));
    return { text: await bounded(response, maxBytes), headers };
  } catch (reason) {
    if (timeout.aborted) throw new Error(`${url} did not answer within ${timeoutMs} ms`);
    throw reason instanceof ZlError ? reason : new Error(`${url}: ${messageOf(reason)}`);
  } finally {
    outgoing.destroy();
  }
}

async function bounded(response: IncomingMessage, maxBytes: number): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response) {
    bytes += piece.length;
    if (bytes > maxBytes) throw new Error(`the document is larger than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function statusFault(status: number): string {
  const redirect = status >= 300 && status < 400;
  return `status ${status}${redirect ? ', a redirect, which is not followed' : ''}`;
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
