import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import schema from '../../../../../contracts/config/mock-script.schema.json' with { type: 'json' };
import type { Rule, Script } from './script.ts';
import { placeholdersIn } from './template.ts';

const validator = compileSchema<Script>(schema, 'built-in');

const builtInPlaceholders = ['text', 'result', 'error'];

/** @throws ZlError config.invalid that names the file, the line and what is wrong there. */
export function parseScript(text: string, file: string): Script {
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
    if (builtInPlaceholders.includes(name) || groups.includes(name) || /^\d+$/.test(name)) continue;
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
