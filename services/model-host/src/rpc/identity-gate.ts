import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { fromConnectError, toConnectError } from '@zerolatency/service/rpc';
import type { ProvenIdentity } from '../ports.ts';
import { methodOf } from './method-name.ts';
import type { RpcObserver } from './rpc-observer.ts';

/** @throws ZlError identity.invalid */
export type VerifyToken = (token: string) => Promise<ProvenIdentity>;

const identityKey = createContextKey<ProvenIdentity | undefined>(undefined, {
  description: 'who is asking',
});

/** Runs before the body is read, so that a stranger costs no more than headers. */
export function identityGate(
  verify: VerifyToken,
  { refused }: Pick<RpcObserver, 'refused'>,
): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    try {
      const token = bearerToken(context.requestHeader.get('authorization'));
      context.values.set(identityKey, await verify(token));
    } catch (reason) {
      const error = fromConnectError(reason);
      refused({ method: methodOf(context), error });
      throw toConnectError(error);
    }
  };
}

export function identityOf(context: Pick<HandlerContext, 'values'>): ProvenIdentity {
  const identity = context.values.get(identityKey);
  // A service that forgot its gate must not serve anybody.
  if (identity === undefined) throw new ZlError('identity.missing', 'nobody was identified');
  return identity;
}

function bearerToken(header: string | null): string {
  if (header === null) throw new ZlError('identity.missing', 'the request has no authorization');
  const [, token] = /^bearer +([\w.~+/=-]+)$/i.exec(header) ?? [];
  if (token === undefined) {
    throw new ZlError('identity.invalid', 'authorization is not "Bearer <token>"');
  }
  return token;
}
