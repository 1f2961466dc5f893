import type { Http2ServerRequest } from 'node:http2';
import { createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { peerName } from '@zerolatency/identity';
import { toConnectError } from '@zerolatency/service/rpc';

const callerKey = createContextKey<string>('', { description: 'name in the client certificate' });

/** TLS has verified the client certificate; this reads the name in it. */
export function callerOf({ stream }: Http2ServerRequest) {
  const socket = stream.session?.socket;
  const name = socket === undefined ? undefined : peerName(socket);
  return createContextValues().set(callerKey, name ?? '');
}

/** Runs before the body is read. */
export function callerGate(allowed: readonly string[]): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const name = context.values.get(callerKey);
    if (allowed.includes(name)) return;
    const why = `"${name}" is not in rpc.allowedClients`;
    throw toConnectError(new ZlError('identity.forbidden', why));
  };
}
