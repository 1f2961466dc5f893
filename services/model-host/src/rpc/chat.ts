import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type HandlerContext, type MethodImpl } from '@connectrpc/connect';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import {
  type AgentService,
  type ChatEvent,
  type ChatRequest,
  type StreamChatRequest,
  StreamChatRequestSchema,
} from '@zerolatency/proto/agent';
import { fromConnectError, toConnectError } from '@zerolatency/service/rpc';
import { type ChatObserver, ChatSession } from '../chat/session.ts';
import type { Turns } from '../turn/turns.ts';
import { identityOf, methodOf, type RefusalObserver } from './identity-gate.ts';

export interface EndedRpc {
  /** Service and method, as gRPC writes them. */
  readonly method: string;
  /** Undefined when it ended well. */
  readonly error: ZlError | undefined;
  readonly seconds: number;
}

/** Each RPC that opened ends. */
export interface RpcObserver extends ChatObserver, RefusalObserver {
  opened(): void;
  ended(rpc: EndedRpc): void;
}

export interface ChatDeps {
  readonly turns: Turns;
  readonly observer: RpcObserver;
}

export function streamChat(deps: ChatDeps): MethodImpl<typeof AgentService.method.streamChat> {
  return (requests, context) => serveChat(deps, context, requests);
}

/** A stream of one turn, for clients that can only listen. */
export function chat(deps: ChatDeps): MethodImpl<typeof AgentService.method.chat> {
  return (request, context) => serveChat(deps, context, only(request));
}

async function* only({ start }: ChatRequest): AsyncGenerator<StreamChatRequest> {
  if (start === undefined) {
    throw new ZlError('request.invalid', 'start is missing', { field: 'start' });
  }
  yield create(StreamChatRequestSchema, { action: { case: 'start', value: start } });
}

async function* serveChat(
  deps: ChatDeps,
  context: HandlerContext,
  requests: AsyncIterable<StreamChatRequest>,
): AsyncGenerator<{ event: ChatEvent }, void> {
  const startedMs = performance.now();
  let error: ZlError | undefined;
  deps.observer.opened();
  try {
    const session = new ChatSession({
      turns: deps.turns,
      ...identityOf(context),
      traceparent: context.requestHeader.get('traceparent') ?? '',
      signal: context.signal,
      observer: deps.observer,
    });
    void readRequests(session, requests);
    for await (const event of session.events()) yield { event };
  } catch (reason) {
    error = fromConnectError(reason, { aborted: 'turn.cancelled' });
    throw toConnectError(error);
  } finally {
    const seconds = (performance.now() - startedMs) / 1000;
    deps.observer.ended({ method: methodOf(context), error, seconds });
  }
}

async function readRequests(
  session: ChatSession,
  requests: AsyncIterable<StreamChatRequest>,
): Promise<void> {
  try {
    for await (const { action } of requests) {
      if (action.case === 'start') await session.start(action.value);
      else if (action.case === 'cancel') session.cancel(action.value.turnId);
      else throw new ZlError('request.invalid', 'action is neither start nor cancel');
    }
    await session.finish();
  } catch (reason) {
    const error = readingFailure(reason);
    await session.fail(error, { isLost: LOST_IDS.has(error.id) });
  }
}

/** A connection that broke, as opposed to a client that sent something wrong. */
const LOST_IDS: ReadonlySet<ErrorId> = new Set([
  'internal',
  'peer.lost',
  'peer.timeout',
  'peer.unavailable',
  'turn.cancelled',
]);

/** Connect reports an unreadable message as internal; a broken stream has its cause beside it. */
function readingFailure(reason: unknown): ZlError {
  const isMessage = reason instanceof ConnectError && reason.code === Code.Internal;
  if (!isMessage || reason.cause !== undefined) {
    return fromConnectError(reason, { aborted: 'turn.cancelled' });
  }
  return new ZlError('request.invalid', reason.rawMessage, { cause: reason });
}
