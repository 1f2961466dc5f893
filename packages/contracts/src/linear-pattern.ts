import { RE2Set } from 're2js';

export interface LinearPattern {
  test(text: string): boolean;
  /** About as many instructions as it compiles to. */
  readonly size: number;
  /** The source; ajv tells expressions apart by it. */
  toString(): string;
}

type Compiled =
  | { readonly value: LinearPattern; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** A generated pattern may name a few hundred alternatives. */
export const MAX_PATTERN_CHARS = 2048;

/**
 * Instructions, each of which can cost a step per character. Estimated before
 * compiling, which takes seconds for a pattern that repeats too much.
 */
const MAX_PATTERN_SIZE = 2_500;

/** A Unicode property is a table of hundreds of ranges. */
const PROPERTY_SIZE = 16;

/** Instructions times characters: a fraction of a second when the state cache is of no use. */
const MAX_STEPS = 2 ** 23;

/** Per pattern, for the states met so far; a device can offer thousands of patterns. */
const MAX_CACHE_BYTES = 64 * 1024;

/** White space as JavaScript defines it; RE2 knows only its ASCII part. */
const SPACES = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
] as const;
const SPACE = SPACES.map(([from, to]) => `${hex(from)}-${hex(to)}`).join('');
const NOT_SPACE = SPACES.map(([, to], i) => {
  const next = SPACES[i + 1]?.[0] ?? 0x110000;
  return `${hex(to + 1)}-${hex(next - 1)}`;
}).reduce((ranges, range) => ranges + range, `${hex(0)}-${hex(0x08)}`);
const ANY = `${hex(0)}-${hex(0x10ffff)}`;
const NOT_LINE_END = '[^\\n\\r\\x{2028}\\x{2029}]';

const ESCAPE = [
  String.raw`\\u\{(?<braced>[\dA-Fa-f]+)\}`,
  String.raw`\\u(?<high>[dD][89abAB][\dA-Fa-f]{2})\\u(?<low>[dD][c-fC-F][\dA-Fa-f]{2})`,
  String.raw`\\u(?<four>[\dA-Fa-f]{4})`,
  String.raw`\\x(?<two>[\dA-Fa-f]{2})`,
  String.raw`\\c(?<control>[A-Za-z])`,
  String.raw`\\(?<property>[pP])\{(?:(?:General_Category|gc|Script|sc)=)?(?<named>[^}]*)\}`,
  String.raw`\\(?<letter>.)`,
].join('|');
const CLASS = String.raw`\[(?<negated>\^?)(?<members>(?:\\.|[^\]\\])*)\]`;
const GROUP = String.raw`\(\?(?<group>:|<(?![=!])[^>]*>|)`;
const REPEAT = String.raw`\{(?<least>\d+)(?<comma>,?)(?<most>\d*)\}`;
const TOKEN = new RegExp(`${ESCAPE}|${CLASS}|${GROUP}|${REPEAT}|.`, 'gsu');
const CLASS_MEMBER = new RegExp(`${ESCAPE}|.`, 'gsu');

/**
 * Prepares a pattern of a JSON Schema for an engine whose time grows with the
 * text and nothing else. It means what it means in JavaScript with the u flag.
 */
export function compilePattern(source: string): Compiled {
  if (source.length > MAX_PATTERN_CHARS) {
    return { error: `is longer than ${MAX_PATTERN_CHARS} characters` };
  }
  const size = sizeOf(source);
  if (size > MAX_PATTERN_SIZE) return { error: 'repeats too much; lower its {n,m}' };
  if (!isRegExp(source)) return { error: 'is not a regular expression' };
  const engine = new RE2Set(RE2Set.UNANCHORED, 0, MAX_CACHE_BYTES);
  try {
    engine.add(translate(source));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'not supported';
    return { error: `cannot be matched in linear time: ${why}` };
  }
  const maxTextChars = Math.floor(MAX_STEPS / size);
  let isCompiled = false;
  const test = (text: string) => {
    // The time that a longer text could take is not bounded by anything else.
    if (text.length > maxTextChars) return false;
    // Slow, and most patterns of a catalog are never used.
    if (!isCompiled) engine.compile();
    isCompiled = true;
    return engine.match(text).length > 0;
  };
  return { value: { test, size, toString: () => source } };
}

type Groups = Readonly<Record<string, string | undefined>>;

function sizeOf(source: string): number {
  const open = [0];
  let last = 0;
  const add = (size: number) => {
    last = size;
    open.push((open.pop() ?? 0) + size);
  };
  for (const { 0: token, groups = {} } of source.matchAll(TOKEN)) {
    const { members, property, group, least, comma, most } = groups;
    if (token === '(' || group !== undefined) open.push(1);
    else if (token === ')') add(open.pop() ?? 0);
    else if (least !== undefined) {
      // Each optional copy is a branch too.
      const copies = comma === '' ? Number(least) : 2 * Math.max(Number(least), Number(most));
      add(last * Math.max(0, copies - 1));
    } else if (members !== undefined) {
      add(1 + (members.match(/\\[pP]/g)?.length ?? 0) * PROPERTY_SIZE);
    } else add(property === undefined ? 1 : PROPERTY_SIZE);
  }
  return open.reduce((sum, size) => sum + size, 0);
}

class Unsupported extends Error {}

/** The same pattern in the syntax of RE2, from one that `new RegExp(source, 'u')` accepts. */
function translate(source: string): string {
  return source.replaceAll(TOKEN, (token, ...rest) => {
    const groups: Groups = rest.at(-1);
    const { letter, members, group } = groups;
    if (members !== undefined) return translateClass(members, groups.negated === '^');
    if (group === '') throw new Unsupported('looks ahead or behind');
    if (group !== undefined) return '(?:';
    if (/[1-9k]/.test(letter ?? '')) throw new Unsupported('refers back to a group');
    if (letter === 's') return `[${SPACE}]`;
    if (letter === 'S') return `[${NOT_SPACE}]`;
    return token === '.' ? NOT_LINE_END : (translateEscape(groups) ?? token);
  });
}

function translateClass(members: string, isNegated: boolean): string {
  // RE2 has no empty class.
  if (members === '') return isNegated ? `[${ANY}]` : `[^${ANY}]`;
  const translated = members.replaceAll(CLASS_MEMBER, (member, ...rest) => {
    const groups: Groups = rest.at(-1);
    if (groups.letter === 's') return SPACE;
    if (groups.letter === 'S') return NOT_SPACE;
    if (groups.letter === 'b') return hex(0x08);
    // RE2 reads [:word:] as a named class.
    return member === '[' ? '\\[' : (translateEscape(groups) ?? member);
  });
  return `[${isNegated ? '^' : ''}${translated}]`;
}

function translateEscape(groups: Groups): string | undefined {
  const { braced, high, low, four, two, control, property, named, letter } = groups;
  if (high !== undefined && low !== undefined) {
    const pair = String.fromCharCode(Number.parseInt(high, 16), Number.parseInt(low, 16));
    return hex(pair.codePointAt(0) ?? 0);
  }
  const digits = braced ?? four ?? two;
  if (digits !== undefined) return hex(Number.parseInt(digits, 16));
  if (control !== undefined) return hex(control.charCodeAt(0) % 32);
  if (property !== undefined) return `\\${property}{${named}}`;
  return letter === '0' ? hex(0) : undefined;
}

function isRegExp(source: string): boolean {
  try {
    new RegExp(source, 'u');
    return true;
  } catch {
    // A SyntaxError is the only one it throws.
    return false;
  }
}

function hex(code: number): string {
  return `\\x{${code.toString(16)}}`;
}
