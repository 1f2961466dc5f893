/** Tenant, device and session: in log lines, keys of a directory, paths of URLs and terminals. */
const PLAIN = {
  pattern: '^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}$',
  reads: 'up to 128 letters, digits, ".", ":", "@", "_" and "-", the first a letter, digit or "_"',
};

/** How each kind of name reads. The JSON Schemas of contracts/ repeat the patterns; a test compares them. */
const GRAMMARS = {
  tenant: PLAIN,
  device: PLAIN,
  session: PLAIN,
  /** OpenID Connect bounds a subject to 255 ASCII characters; some providers use base64url. */
  user: {
    pattern: '^[A-Za-z0-9_-][A-Za-z0-9_.:@|/+=-]{0,254}$',
    reads: 'up to 255 letters, digits and ".", ":", "@", "|", "/", "+", "=", "_" and "-"',
  },
  /** Without dots, so that the first dot of "server.tool" divides it. */
  server: {
    pattern: '^[a-z0-9][a-z0-9_-]{0,63}$',
    reads: 'up to 64 lower-case letters, digits, "_" and "-", the first a letter or digit',
  },
  /** The characters and the length that MCP gives a tool's name. */
  tool: {
    pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$',
    reads: 'up to 128 letters, digits, ".", "_" and "-", the first a letter, digit or "_"',
  },
} as const;

export type NameKind = keyof typeof GRAMMARS;

export type ParsedName =
  | { readonly value: string; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

const PATTERNS = new Map(
  Object.entries(GRAMMARS).map(([kind, { pattern }]) => [kind, new RegExp(pattern)]),
);

export function parseName(kind: NameKind, value: unknown): ParsedName {
  if (typeof value === 'string' && PATTERNS.get(kind)?.test(value)) return { value };
  return { error: `is not a ${kind} name: ${GRAMMARS[kind].reads}` };
}

/** @internal For the test that holds JSON Schemas to the grammars. */
export function namePattern(kind: NameKind): string {
  return GRAMMARS[kind].pattern;
}
