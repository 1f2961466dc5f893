import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import schema from '../../../../../contracts/config/mock-script.schema.json' with { type: 'json' };
import type { MockScript, Rule } from '../../../../../contracts/gen/mock-script.d.ts';

const validator = compileSchema<MockScript>(schema, 'built-in');

const BUILT_IN_PLACEHOLDERS = ['text', 'result', 'error'];

const DEFAULT_SCRIPT_FILE = fileURLToPath(new URL('default-script.yaml', import.meta.url));

export async function openScript(configured: string): Promise<MockScript> {
  const file = configured || DEFAULT_SCRIPT_FILE;
  try {
    return parseScript(await readFile(file, 'utf8'), file);
  } catch (cause) {
    if (cause instanceof ZlError) throw cause;
    const message = `providers.mock.scriptFile: ${file} cannot be read`;
    throw new ZlError('config.invalid', message, { cause });
  }
}

/** @throws ZlError config.invalid that names the file, the line and what is wrong there. */
export function parseScript(text: string, file: string): MockScript {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const broken = document.errors[0];
  if (broken !== undefined) {
    const { line } = lines.linePos(broken.pos[0]);
    throw refuse(file, line, broken.message.split('\n')[0] ?? 'not YAML');
  }
  const refuseAt = (path: readonly string[], reason: string) =>
    refuse(file, lineOf(document, lines, path), reason);
  const checked = validator.validate(document.toJS());
  if (checked.error !== undefined)
    throw refuseAt(pathOf(checked.error.field), checked.error.message);
  const script = checked.value;
  for (const [index, rule] of script.rules.entries()) {
    checkRule(rule, (path, reason) => refuseAt(['rules', String(index), ...path], reason));
  }
  return script;
}

function checkRule(rule: Rule, refuseAt: (path: string[], reason: string) => ZlError): void {
  const pattern = rule.when?.text ?? '';
  try {
    new RegExp(pattern, 'iu');
  } catch (reason) {
    throw refuseAt(['when', 'text'], `when.text is not a regular expression: ${reason}`);
  }
  const groups = [...pattern.matchAll(/\(\?<(\w+)>/g)].map((match) => match[1]);
  for (const name of placeholdersIn(rule.reply)) {
    if (BUILT_IN_PLACEHOLDERS.includes(name) || groups.includes(name) || /^\d+$/.test(name))
      continue;
    throw refuseAt(['reply'], `the reply uses {{${name}}}, which nothing gives a value`);
  }
}

function refuse(file: string, line: number, reason: string): ZlError {
  return new ZlError('config.invalid', `mock script ${file}, line ${line}: ${reason}`);
}

function pathOf(field: string): string[] {
  return field.split('/').slice(1);
}

/** The line of the deepest node on the path that the document has. */
function lineOf(document: Document, lines: LineCounter, path: readonly string[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const keys = path.slice(0, length).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    const node = document.getIn(keys, true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

/** Values by name; a name that is known and has nothing to say is undefined. */
export type TemplateValues = Readonly<Record<string, string | undefined>>;

const PLACEHOLDER = /\{\{\s*(\w+)\s*(?:\|([^}]*))?\}\}/g;

export function fill(template: string, values: TemplateValues): string {
  return template.replaceAll(
    PLACEHOLDER,
    (_all, name: string, fallback: string | undefined) => values[name] ?? fallback ?? '',
  );
}

export function fillDeep(value: unknown, values: TemplateValues): unknown {
  if (typeof value === 'string') return fill(value, values);
  if (Array.isArray(value)) return value.map((item) => fillDeep(item, values));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, fillDeep(item, values)]),
  );
}

function placeholdersIn(value: unknown): readonly string[] {
  if (typeof value === 'string')
    return [...value.matchAll(PLACEHOLDER)].map((match) => match[1] ?? '');
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(placeholdersIn);
}
