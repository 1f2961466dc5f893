import type { HandlerContext, MethodImpl } from '@connectrpc/connect';
import { toConnectError } from '@zerolatency/errors';
import type { AgentService } from '@zerolatency/proto/agent';
import type { Turns } from '../turn/turns.ts';
import { ChatSession } from './chat-session.ts';
import { identityOf } from './identity-gate.ts';

export function streamChat(turns: Turns): MethodImpl<typeof AgentService.method.streamChat> {
  return async function* (requests, context) {
    try {
      for await (const event of openSession(turns, context).events(requests)) yield { event };
    } catch (reason) {
      throw toConnectError(reason);
    }
  };
}

export function openSession(turns: Turns, context: HandlerContext): ChatSession {
  return new ChatSession({
    turns,
    identity: identityOf(context),
    traceparent: context.requestHeader.get('traceparent') ?? '',
    signal: context.signal,
  });
}
