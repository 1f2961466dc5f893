import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import type { Identity, ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import { fromConnectError, toConnectError } from '@zerolatency/service/rpc';

export interface RefusalObserver {
  /** Turned away at the gate, before the RPC opened. */
  refused(rpc: { readonly method: string; readonly error: ZlError }): void;
}

/** @throws ZlError identity.invalid */
export type VerifyAccessToken = (accessToken: string) => Promise<ProvenIdentity>;

const identityKey = createContextKey<ProvenIdentity | undefined>(undefined, {
  description: 'the verified identity',
});

/** Tells the listener that the peer of this connection has been authenticated. */
export const proveKey = createContextKey<() => void>(() => {}, {
  description: 'what to do once the peer is authenticated',
});

/** Bounds the streams of an identity over all its connections. */
export interface StreamSlots {
  /** @throws ZlError limit.exceeded. Returns what gives the slot back. */
  take(identity: Identity): () => void;
}

/** Counts the refusals of a sender by its authorization header. */
export interface RefusalCounter {
  count(authorization: string): void;
}

/** RPCs that are one turn, so that without a slot for it they need not be read. */
const ONE_TURN: ReadonlySet<HandlerContext['method']> = new Set([
  AgentService.method.chat,
  AgentService.method.callTool,
]);

export interface GateOptions {
  /** Throws while no turn of this identity would be admitted. */
  readonly turns: { assertRoom(identity: Identity): void };
  readonly verifyToken: VerifyAccessToken;
  readonly streams: StreamSlots;
  readonly refusals: RefusalCounter;
  readonly observer: RefusalObserver;
}

/** Runs before the body is read, so that a stranger costs no more than headers. */
export function identityGate({
  turns,
  verifyToken,
  streams,
  refusals,
  observer,
}: GateOptions): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const authorization = context.requestHeader.get('authorization');
    try {
      const token = bearerToken(authorization);
      const proven = await verifyToken(token);
      context.values.get(proveKey)();
      if (ONE_TURN.has(context.method)) turns.assertRoom(proven.identity);
      const release = streams.take(proven.identity);
      // The signal aborts when the stream ends, however it does.
      if (context.signal.aborted) release();
      context.signal.addEventListener('abort', release, { once: true });
      context.values.set(identityKey, proven);
    } catch (reason) {
      const error = fromConnectError(reason);
      if (error.id === 'limit.exceeded') refusals.count(authorization ?? '');
      observer.refused({ method: methodOf(context), error });
      throw toConnectError(error);
    }
  };
}

export function identityOf(context: Pick<HandlerContext, 'values'>): ProvenIdentity {
  const identity = context.values.get(identityKey);
  // A service without its gate must not serve anybody.
  if (identity === undefined) throw new ZlError('identity.missing', 'nobody was identified');
  return identity;
}

/** Service and method, as gRPC writes them in its paths. */
export function methodOf({ service, method }: Pick<HandlerContext, 'service' | 'method'>): string {
  return `${service.typeName}/${method.name}`;
}

function bearerToken(header: string | null): string {
  if (header === null) throw new ZlError('identity.missing', 'the request has no authorization');
  const [, token] = /^bearer +([\w.~+/=-]+)$/i.exec(header) ?? [];
  if (token === undefined) {
    throw new ZlError('identity.invalid', 'authorization is not "Bearer <token>"');
  }
  return token;
}
