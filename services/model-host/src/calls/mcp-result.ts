/** The result of an MCP tools/call, as far as this host reads it. */
export interface McpResult {
  readonly isError?: unknown;
  readonly content?: unknown;
  readonly structuredContent?: unknown;
}

export function parseMcpResult(bytes: Uint8Array): McpResult | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    // The caller reports a result that cannot be read.
    return undefined;
  }
}

/** What a model reads of a result; content that is not text leaves a placeholder. */
export function textForModel(result: unknown): string {
  if (!isObject(result)) return JSON.stringify(result);
  const parts = Array.isArray(result.content) ? result.content.flatMap(textOfPart) : [];
  if (result.structuredContent === undefined) {
    return parts.length === 0 ? JSON.stringify(result) : parts.map(({ text }) => text).join('\n');
  }
  // MCP repeats structured content as text for older clients; a model needs it once.
  const beside = parts.filter(({ isText }) => !isText).map(({ text }) => text);
  return [JSON.stringify(result.structuredContent), ...beside].join('\n');
}

/** The text parts alone, for messages of errors. */
export function plainText({ content }: McpResult): string {
  if (!Array.isArray(content)) return '';
  return content
    .flatMap(textOfPart)
    .flatMap(({ isText, text }) => (isText ? [text] : []))
    .join('\n');
}

interface PartText {
  readonly text: string;
  readonly isText: boolean;
}

function textOfPart(part: unknown): PartText[] {
  if (!isObject(part)) return [];
  const { type, text, resource } = part;
  if (type === 'text') return typeof text === 'string' ? [{ text, isText: true }] : [];
  if (type === 'resource' && isObject(resource)) {
    const where = `resource ${nameOf(resource.uri)}`;
    if (typeof resource.text === 'string') {
      return [{ text: `[${where}]\n${resource.text}`, isText: false }];
    }
    return [{ text: placeholder(where, resource.mimeType, resource.blob), isText: false }];
  }
  if (type === 'resource_link') {
    const label = `link ${nameOf(part.uri)} "${nameOf(part.title ?? part.name)}"`;
    return [{ text: placeholder(label, part.mimeType, undefined), isText: false }];
  }
  return [{ text: placeholder(nameOf(type), part.mimeType, part.data), isText: false }];
}

/** Such as [image image/png, 12,345 bytes]. */
function placeholder(what: string, mimeType: unknown, base64: unknown): string {
  const kind = typeof mimeType === 'string' ? ` ${nameOf(mimeType)}` : '';
  if (typeof base64 !== 'string') return `[${what}${kind}]`;
  const bytes = Buffer.byteLength(base64, 'base64').toLocaleString('en-US');
  return `[${what}${kind}, ${bytes} bytes]`;
}

const MAX_NAME_CHARS = 200;

/** Tools choose these names, so one cannot fill or break the placeholder it stands in. */
function nameOf(value: unknown): string {
  if (typeof value !== 'string') return 'unnamed';
  return value.slice(0, MAX_NAME_CHARS).replaceAll(/[\p{Cc}[\]]/gu, ' ');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
