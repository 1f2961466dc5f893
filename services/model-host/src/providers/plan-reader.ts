import { compileSchema } from '@zerolatency/contracts';
import type { Plan } from '../../../../contracts/gen/plan.d.ts';
import schema from '../../../../contracts/plan/plan.schema.json' with { type: 'json' };

export type PlannedCall = NonNullable<Plan['calls']>[number];

/** More than the arguments of a call may have, several times over. */
const MAX_CHARS = 1024 * 1024;
/** JSON.parse reads any depth; what walks the value afterwards does not. */
const MAX_DEPTH = 64;
const MAX_QUOTED_CHARS = 200;

const validator = compileSchema<Plan>(schema, 'built-in');

/** An object at the beginning of a line, in a fenced block or bare. */
const OPENING = /^\s{0,999}(?:```[^\n`]{0,32}\n\s{0,999})?(?=\{)/;
/** What more text could make an opening. */
const MAYBE_OPENING = /^\s{0,999}(?:`{1,2}|```[^\n`]{0,32}|```[^\n`]{0,32}\n\s{0,999})?$/;

/** Tells a plan that went wrong from JSON that is part of an answer. */
const PLAN_KEY = /"(?:answer|calls|tool|arguments)"\s*:/;

/**
 * Reads the text of a model that writes its tool calls as JSON. Prose, and the answer inside a plan,
 * go on as they arrive; all other JSON is held back until it is known to be a plan or not.
 */
export class PlanReader {
  readonly calls: PlannedCall[] = [];
  /** Why the reply cannot be read as a plan, for the model. */
  fault: string | undefined;
  #isLineStart = true;
  /** Of a line that may open an object. */
  #held = '';
  #object: ObjectScanner | undefined;
  #hasPlan = false;

  /** Returns text for the person. */
  push(delta: string): string {
    let shown = '';
    let rest = delta;
    while (rest !== '' && this.fault === undefined) {
      const read = this.#object === undefined ? this.#prose(rest) : this.#json(this.#object, rest);
      shown += read.shown;
      rest = read.rest;
    }
    return shown;
  }

  /** The reply is complete. Returns the rest of the text for the person. */
  end(): string {
    if (this.fault !== undefined) return '';
    if (this.#object === undefined) return this.#shown(this.#held);
    const { open, text, hasAnswer, hasOtherMembers } = this.#object;
    // An answer that the model's own limit has cut is an answer.
    if (hasAnswer && !hasOtherMembers) return '';
    if (!PLAN_KEY.test(text)) return this.#shown(`${open}${text}`);
    this.fault = faultIn(text, 'ends before the object does');
    return '';
  }

  #prose(text: string): Read {
    if (!this.#isLineStart) return this.#restOfLine(text, 0);
    const line = this.#held + text;
    this.#held = '';
    const [open] = OPENING.exec(line) ?? [];
    if (open !== undefined) {
      this.#object = new ObjectScanner(open);
      return { shown: '', rest: line.slice(open.length) };
    }
    if (!MAYBE_OPENING.test(line)) return this.#restOfLine(line, line.search(/\S|$/));
    this.#held = line;
    return NOTHING;
  }

  #restOfLine(text: string, from: number): Read {
    const end = text.indexOf('\n', from) + 1;
    this.#isLineStart = end > 0;
    if (end === 0) return { shown: this.#shown(text), rest: '' };
    return { shown: this.#shown(text.slice(0, end)), rest: text.slice(end) };
  }

  #json(object: ObjectScanner, text: string): Read {
    const { answer, length } = object.push(text);
    if (object.fault !== undefined) this.fault = faultIn(object.text, object.fault);
    const rest = text.slice(length);
    if (!object.isWhole || this.fault !== undefined) return { shown: answer, rest };
    this.#object = undefined;
    this.#isLineStart = true;
    return { shown: answer + this.#finished(object), rest };
  }

  #finished({ open, text }: ObjectScanner): string {
    const { plan, fault } = parsePlan(text);
    if (plan !== undefined) {
      this.#hasPlan = true;
      this.calls.push(...(plan.calls ?? []));
      return '';
    }
    if (!PLAN_KEY.test(text)) return this.#shown(`${open}${text}`);
    this.fault = faultIn(text, fault);
    return '';
  }

  /** After a plan models like to imagine its results. */
  #shown(prose: string): string {
    return this.#hasPlan ? '' : prose;
  }
}

interface Read {
  readonly shown: string;
  readonly rest: string;
}

const NOTHING: Read = { shown: '', rest: '' };

function parsePlan(text: string): { plan?: Plan; fault: string } {
  try {
    const { value, error } = validator.validate(JSON.parse(text));
    return error === undefined
      ? { plan: value, fault: '' }
      : { fault: `is wrong: ${error.message}` };
  } catch (cause) {
    return { fault: `cannot be parsed (${cause instanceof Error ? cause.message : cause})` };
  }
}

function faultIn(text: string, fault: string): string {
  return `its JSON ${fault}; it began with ${text.slice(0, MAX_QUOTED_CHARS).toWellFormed()}`;
}

/** Follows one JSON object to its end, and decodes its member `answer` on the way. */
class ObjectScanner {
  /** What stood before it, and is shown if it is no plan. */
  readonly open: string;
  text = '';
  fault: string | undefined;
  hasAnswer = false;
  #depth = 0;
  #string: 'key' | 'answer' | 'other' | undefined;
  #key = '';
  #isKeyNext = false;
  #members = 0;
  /** The characters of an escape that is not complete. */
  #escape = '';
  /** The first half of a surrogate pair, which no event may end with. */
  #half = '';

  constructor(open: string) {
    this.open = open;
  }

  get isWhole(): boolean {
    return this.text !== '' && this.#depth === 0;
  }

  get hasOtherMembers(): boolean {
    return this.#members > 1;
  }

  /** Takes what belongs to the object, and returns what that adds to the answer. */
  push(text: string): { readonly answer: string; readonly length: number } {
    let answer = this.#half;
    let length = 0;
    while (length < text.length && this.fault === undefined) {
      const char = text.charAt(length);
      length += 1;
      answer += this.#string === undefined ? this.#structure(char) : this.#character(char);
      if (this.#depth === 0) break;
    }
    this.text += text.slice(0, length);
    if (this.text.length > MAX_CHARS) this.fault = `is longer than ${MAX_CHARS} characters`;
    this.#half = /[\ud800-\udbff]$/.exec(answer)?.[0] ?? '';
    const isWhole = this.#half === '';
    return { answer: (isWhole ? answer : answer.slice(0, -1)).toWellFormed(), length };
  }

  #structure(char: string): '' {
    if (char === '{' || char === '[') {
      this.#depth += 1;
      this.#isKeyNext = this.#depth === 1;
      if (this.#depth > MAX_DEPTH) this.fault = `nests more than ${MAX_DEPTH} deep`;
    } else if (char === '}' || char === ']') {
      this.#depth -= 1;
    } else if (this.#depth === 1 && (char === ',' || char === ':')) {
      this.#isKeyNext = char === ',';
    } else if (char === '"') {
      const isTop = this.#depth === 1;
      if (isTop && this.#isKeyNext) {
        this.#key = '';
        this.#members += 1;
      }
      const isAnswer = isTop && !this.#isKeyNext && this.#key === 'answer';
      this.#string = isTop && this.#isKeyNext ? 'key' : isAnswer ? 'answer' : 'other';
      this.hasAnswer ||= isAnswer;
    }
    return '';
  }

  #character(char: string): string {
    if (this.#escape === '' && char === '"') {
      this.#string = undefined;
      return '';
    }
    let decoded = char;
    if (this.#escape !== '' || char === '\\') {
      this.#escape += char;
      const isWhole = this.#escape.length === (this.#escape.startsWith('\\u') ? 6 : 2);
      // The second character decides how many follow.
      if (!isWhole || this.#escape === '\\u') return '';
      decoded = unescaped(this.#escape);
      this.#escape = '';
    }
    if (this.#string === 'key') this.#key += decoded;
    return this.#string === 'answer' ? decoded : '';
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

/** Anything for an escape that JSON does not have; the object cannot be parsed in the end. */
function unescaped(sequence: string): string {
  const name = sequence.charAt(1);
  if (name !== 'u') return ESCAPES[name] ?? name;
  return String.fromCharCode(Number.parseInt(sequence.slice(2), 16));
}
