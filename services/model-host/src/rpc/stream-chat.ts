import type { HandlerContext, MethodImpl } from '@connectrpc/connect';
import type { ZlError } from '@zerolatency/errors';
import type { AgentService, ChatEvent, StreamChatRequest } from '@zerolatency/proto/agent';
import { fromConnectError, toConnectError } from '@zerolatency/service/rpc';
import type { Turns } from '../turn/turns.ts';
import { ChatSession } from './chat-session.ts';
import { identityOf } from './identity-gate.ts';
import { methodOf } from './method-name.ts';
import type { RpcObserver } from './rpc-observer.ts';

export interface ChatDeps {
  readonly turns: Turns;
  readonly observer: RpcObserver;
}

export function streamChat(deps: ChatDeps): MethodImpl<typeof AgentService.method.streamChat> {
  return (requests, context) => serveSession(deps, context, requests);
}

export async function* serveSession(
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
      onMasked: deps.observer.masked,
    });
    for await (const event of session.events(requests)) yield { event };
  } catch (reason) {
    error = fromConnectError(reason, { aborted: 'turn.cancelled' });
    throw toConnectError(error);
  } finally {
    const seconds = (performance.now() - startedMs) / 1000;
    deps.observer.ended({ method: methodOf(context), error, seconds });
  }
}
