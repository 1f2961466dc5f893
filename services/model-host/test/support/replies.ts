import type { ModelFinish, ModelMessage, ModelPart } from '../../src/providers/port.ts';

export function says(delta: string): ModelPart {
  return { type: 'text-delta', id: 'text', delta };
}

export function asks(toolName: string, input = '{}', toolCallId = '1'): ModelPart {
  return { type: 'tool-call', toolCallId, toolName, input };
}

/** Without counts when the provider counts nothing. */
export function finish(
  unified: ModelFinish['finishReason']['unified'] = 'stop',
  [input, output]: readonly number[] = [],
): ModelFinish {
  const usage = { inputTokens: { total: input }, outputTokens: { total: output } };
  return { type: 'finish', finishReason: { unified }, usage };
}

export function user(text: string): ModelMessage {
  return { role: 'user', content: [{ type: 'text', text }] };
}

/** The text of a message of a person. */
export function saidIn(message: ModelMessage | undefined): string {
  const [part] = message?.role === 'user' ? message.content : [];
  return part?.type === 'text' ? part.text : '';
}
