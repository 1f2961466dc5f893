import { createHash } from 'node:crypto';

/** What all vendors accept; the strictest are 64 characters, without dots. */
const MAX_CHARS = 64;
const PLAIN = /^[a-z0-9-]+\.[A-Za-z0-9-][A-Za-z0-9_-]*$/;
const ENDS_LIKE_DIGEST = /_[0-9a-f]{16}$/;

/**
 * The name of a tool at a vendor, the same in every request, because a conversation repeats it.
 * No two tools share one: in a plain name the first underscore stands for the dot, and only
 * other names end in a digest.
 */
export function vendorToolName(tool: string): string {
  const plain = tool.replace('.', '_');
  if (PLAIN.test(tool) && plain.length <= MAX_CHARS && !ENDS_LIKE_DIGEST.test(plain)) return plain;
  const digest = createHash('sha256').update(tool).digest('hex').slice(0, 16);
  const readable = tool.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, MAX_CHARS - 17);
  return `${readable}_${digest}`;
}

/** From the vendor's names back. A name that was not offered stays, and is refused as unknown later. */
export function toolNameReader(tools: readonly { readonly name: string }[]) {
  const names = new Map(tools.map(({ name }) => [vendorToolName(name), name]));
  return (vendorName: string) => names.get(vendorName) ?? vendorName;
}
