import type { ToolResult } from '../ports.ts';

interface CallToolResult {
  readonly structuredContent?: unknown;
  readonly content?: readonly { readonly type: string; readonly text?: string }[];
}

/** What the model reads of a result: bounded, and an error as such. */
export function toolText(result: ToolResult, maxBytes: number): { text: string; isError: boolean } {
  if (result.outcome !== 'done') {
    const { id, message } = result.error ?? { id: 'internal', message: 'the call failed' };
    return { text: bounded(`${id}: ${message}`, maxBytes), isError: true };
  }
  return { text: bounded(contentOf(result.resultJson), maxBytes), isError: false };
}

// MCP repeats structured content as text for older clients; a model needs it once.
function contentOf(resultJson: string): string {
  const parsed = parseResult(resultJson);
  if (parsed?.structuredContent !== undefined) return JSON.stringify(parsed.structuredContent);
  const texts = parsed?.content?.flatMap((part) => (part.type === 'text' ? [part.text ?? ''] : []));
  return texts === undefined || texts.length === 0 ? resultJson : texts.join('\n');
}

function parseResult(resultJson: string): CallToolResult | undefined {
  try {
    const value: unknown = JSON.parse(resultJson);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? value : undefined;
  } catch {
    // Not JSON, so the model gets the text as it is.
    return undefined;
  }
}

function bounded(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  // Back to the first byte of a character: continuation bytes are 10xxxxxx.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `${bytes.toString('utf8', 0, end)}\n[cut: ${end} of ${bytes.length} bytes shown]`;
}
