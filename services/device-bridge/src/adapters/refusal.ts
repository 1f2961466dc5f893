import type { IncomingMessage } from 'node:http';
import { isErrorId } from '@zerolatency/errors';
import type { SocketEnd } from '../ports.ts';

const MAX_BODY_BYTES = 4096;

/**
 * What an HTTP answer that opens no socket means. A relay names an error of the catalogue; it answers
 * request.invalid to a request that lost its upgrade on the way.
 */
export async function endOf(response: IncomingMessage): Promise<SocketEnd> {
  const status = `HTTP ${response.statusCode}`;
  const id = idIn(await bodyOf(response));
  if (id === undefined || id === 'request.invalid') return { code: 1006, reason: status };
  return { code: 1013, reason: `${id} (${status})` };
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  let body = '';
  try {
    for await (const chunk of response) {
      body += chunk;
      if (body.length > MAX_BODY_BYTES) break;
    }
  } catch {
    // Whatever cut it says nothing about the relay.
  }
  return body;
}

function idIn(body: string) {
  try {
    const { id } = JSON.parse(body);
    return isErrorId(id) ? id : undefined;
  } catch {
    // A page of a proxy.
    return undefined;
  }
}
