import { encodedSecrets } from './encoded.ts';
import { ALL_DETECTORS, type DetectorName } from './matcher.ts';
import { isSecretName } from './matchers/secret-value.ts';
import { type FoundSecret, SecretScanner } from './secret-scanner.ts';
import { ESCAPE, View } from './view.ts';

export interface Masked {
  readonly text: string;
  /** In order of first appearance. */
  readonly found: readonly DetectorName[];
}

/** Called for each secret that is replaced. */
export type OnMasked = (detector: DetectorName) => void;

export interface MaskOptions {
  /** All of them when not given. */
  readonly detectors?: readonly DetectorName[] | undefined;
  readonly onMasked?: OnMasked | undefined;
}

export interface MaskJsonOptions extends MaskOptions {
  /** Members that are passed on unread. */
  readonly skips?: ((owner: object, name: string) => boolean) | undefined;
}

/** Replaces every secret found, as it stands or encoded, by a placeholder such as [masked:jwt]. */
export function maskText(text: string, { detectors, onMasked }: MaskOptions = {}): Masked {
  const found = new Set<DetectorName>();
  let masked = '';
  let at = 0;
  for (const { name, from, to } of secretsOf(text, detectors ?? ALL_DETECTORS)) {
    if (name === undefined) continue;
    masked += `${text.slice(at, from)}[masked:${name}]`;
    at = to;
    found.add(name);
    onMasked?.(name);
  }
  return { text: masked + text.slice(at), found: [...found] };
}

/** Apart from each other, in the order of the text. */
function secretsOf(text: string, detectors: readonly DetectorName[]): readonly FoundSecret[] {
  const plain = secretsSeen(text, View.plain(), detectors);
  const mayEscape = text.includes('%') || text.includes('\\');
  const escaped =
    mayEscape && ESCAPE.test(text) ? secretsSeen(text, View.unescaped(), detectors) : [];
  const encoded = encodedSecrets(text, detectors);
  if (escaped.length === 0 && encoded.length === 0) return plain;
  const apart: FoundSecret[] = [];
  for (const secret of [...plain, ...escaped, ...encoded].sort((a, b) => a.from - b.from)) {
    const last = apart.at(-1);
    if (last === undefined || secret.from >= last.to) apart.push(secret);
    else if (secret.to > last.to) apart[apart.length - 1] = { ...last, to: secret.to };
  }
  return apart;
}

function secretsSeen(text: string, view: View, detectors: readonly DetectorName[]): FoundSecret[] {
  return new SecretScanner(detectors)
    .scan(view.read(text), true)
    .map(({ name, from, to }) => ({ name, from: view.startOf(from), to: view.endOf(to) }));
}

/** Deeper values are cut off: nothing legitimate nests so deep, and the stack is finite. */
const MAX_DEPTH = 100;

/**
 * The value with secrets masked in strings and names; the value under a name such
 * as password or api_key is masked whatever it looks like. What holds none is not copied.
 */
export function maskJson(value: unknown, options: MaskJsonOptions = {}): unknown {
  return masked(value, options, 0);
}

function masked(value: unknown, options: MaskJsonOptions, depth: number): unknown {
  if (typeof value === 'string') return maskText(value, options).text;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '[too deep]';
  let isSame = true;
  const noted = <T>(was: T, is: T): T => {
    isSame &&= was === is;
    return is;
  };
  if (Array.isArray(value)) {
    const items = value.map((item) => noted(item, masked(item, options, depth + 1)));
    return isSame ? value : items;
  }
  const shown = (name: string, item: unknown) => {
    if (options.skips?.(value, name)) return item;
    return isHidden(name, item, options) ? hide(options) : masked(item, options, depth + 1);
  };
  const entries = Object.entries(value).map(([name, item]) => [
    noted(name, maskText(name, options).text),
    noted(item, shown(name, item)),
  ]);
  return isSame ? value : Object.fromEntries(entries);
}

function isHidden(name: string, value: unknown, { detectors }: MaskOptions): boolean {
  return isScalar(value) && isSecretName(name) && (detectors?.includes('secret') ?? true);
}

function hide({ onMasked }: MaskOptions): string {
  onMasked?.('secret');
  return '[masked:secret]';
}

function isScalar(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || typeof value === 'number';
}
