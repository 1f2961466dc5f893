import type { DescMethod } from '@bufbuild/protobuf';
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Identity, ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import type { ArrivedRpc } from '@zerolatency/service/rpc';
import type { TurnKind } from '../limits/quotas.ts';

/** @throws ZlError identity.invalid */
export type VerifyAccessToken = (accessToken: string) => Promise<ProvenIdentity>;

const identityKey = createContextKey<ProvenIdentity | undefined>(undefined, {
  description: 'the verified identity',
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

/** RPCs that are one turn, so that without room for it they need not be read. */
const ONE_TURN: ReadonlyMap<DescMethod, TurnKind> = new Map<DescMethod, TurnKind>([
  [AgentService.method.chat, 'model'],
  [AgentService.method.callTool, 'call'],
]);

export interface GateOptions {
  /** Throws while no turn of this identity would be admitted. */
  readonly turns: { assertRoom(identity: Identity, kind: TurnKind): void };
  readonly verifyToken: VerifyAccessToken;
  /** Who the client certificate of the connection names; undefined without one. @throws ZlError identity.invalid */
  readonly identifyByCertificate?: (request: ArrivedRpc['request']) => ProvenIdentity | undefined;
  readonly streams: StreamSlots;
  readonly refusals: RefusalCounter;
  /** The peer of this request has been authenticated. */
  readonly onProved: (request: ArrivedRpc['request']) => void;
}

/** What was proved already stands for the credentials of the request. */
export type Admit = (rpc: ArrivedRpc, proven?: ProvenIdentity) => Promise<ContextValues>;

/** Runs on the headers alone, so that a stranger, or a turn without a slot, costs no more than these. */
export function identityGate({
  turns,
  verifyToken,
  identifyByCertificate = () => undefined,
  streams,
  refusals,
  onProved,
}: GateOptions): Admit {
  const identify = async ({ request }: ArrivedRpc): Promise<ProvenIdentity> => {
    const { authorization } = request.headers;
    // An access token counts before a certificate, and an invalid one is not excused by it.
    const byCertificate = authorization === undefined ? identifyByCertificate(request) : undefined;
    return byCertificate ?? (await verifyToken(bearerToken(authorization)));
  };
  return async (rpc, alreadyProven) => {
    const { method, request, response } = rpc;
    try {
      const proven = alreadyProven ?? (await identify(rpc));
      onProved(request);
      const kind = ONE_TURN.get(method);
      if (kind !== undefined) turns.assertRoom(proven.identity, kind);
      // The client may have left while its token was verified; HTTP/1.1 has a response and no stream.
      if ((response.stream ?? response).destroyed) throw new ZlError('turn.cancelled', 'cancelled');
      response.once('close', streams.take(proven.identity));
      return createContextValues().set(identityKey, proven);
    } catch (reason) {
      const error = fromUnknown(reason);
      if (error.id === 'limit.exceeded') refusals.count(request.headers.authorization ?? '');
      throw error;
    }
  };
}

export function identityOf(context: Pick<HandlerContext, 'values'>): ProvenIdentity {
  const identity = context.values.get(identityKey);
  // A service without its gate must not serve anybody.
  if (identity === undefined) throw new ZlError('identity.missing', 'nobody was identified');
  return identity;
}

function bearerToken(header: string | undefined): string {
  if (header === undefined)
    throw new ZlError('identity.missing', 'the request has no authorization');
  const [, token] = /^bearer +([\w.~+/=-]+)$/i.exec(header) ?? [];
  if (token === undefined) {
    throw new ZlError('identity.invalid', 'authorization is not "Bearer <token>"');
  }
  return token;
}
