import { create } from '@bufbuild/protobuf';
import type { MethodImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import {
  type AgentService,
  type ChatRequest,
  type StreamChatRequest,
  StreamChatRequestSchema,
} from '@zerolatency/proto/agent';
import { type ChatDeps, serveSession } from './stream-chat.ts';

/** A stream of one turn, for clients that can only listen. */
export function chat(deps: ChatDeps): MethodImpl<typeof AgentService.method.chat> {
  return (request, context) => serveSession(deps, context, only(request));
}

async function* only({ start }: ChatRequest): AsyncGenerator<StreamChatRequest> {
  if (start === undefined) throw new ZlError('request.invalid', 'start is missing');
  yield create(StreamChatRequestSchema, { action: { case: 'start', value: start } });
}
