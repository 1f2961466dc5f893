import type { HandlerContext, MethodImpl } from '@connectrpc/connect';
import { toConnectError } from '@zerolatency/errors';
import type { AgentService } from '@zerolatency/proto/agent';
import type { Turns } from '../turn/turns.ts';
import { ChatSession } from './chat-session.ts';
import { identityOf } from './identity-gate.ts';

export interface ChatDeps {
  readonly turns: Turns;
  /** Told of every stream that opens and closes. */
  readonly onStream: (change: 1 | -1) => void;
}

export function streamChat(deps: ChatDeps): MethodImpl<typeof AgentService.method.streamChat> {
  return async function* (requests, context) {
    try {
      for await (const event of openSession(deps, context).events(requests)) yield { event };
    } catch (reason) {
      throw toConnectError(reason);
    }
  };
}

export function openSession({ turns, onStream }: ChatDeps, context: HandlerContext): ChatSession {
  const { signal } = context;
  onStream(1);
  // It aborts at the end of every RPC, whatever the end.
  signal.addEventListener('abort', () => onStream(-1), { once: true });
  return new ChatSession({
    turns,
    identity: identityOf(context),
    traceparent: context.requestHeader.get('traceparent') ?? '',
    signal,
  });
}
