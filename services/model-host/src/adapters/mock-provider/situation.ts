import type { ModelMessage, ModelRequest, ToolAnswer } from '../../providers/port.ts';
import type { Rule } from './script.ts';
import type { TemplateValues } from './template.ts';

// Enough for any rule, and it bounds what a slow regular expression can cost.
const MAX_MATCHED_CHARS = 4096;
const MAX_QUOTED_CHARS = 4000;

/** What a rule can ask about a model call. */
export interface Situation {
  readonly text: string;
  readonly step: number;
  readonly offers: readonly string[];
  readonly after: 'person' | 'results' | 'failure';
  readonly answers: readonly ToolAnswer[];
}

export function situationOf(request: ModelRequest): Situation {
  const { messages } = request;
  const last = messages.at(-1);
  const answers = last?.role === 'tool' ? last.results : [];
  // A tool loop adds assistant and tool messages after the person's.
  const asked = messages.findLastIndex((message) => message.role === 'user');
  const person = messages[asked];
  return {
    text: person?.role === 'user' ? person.text : '',
    step: 1 + stepsSince(messages, asked),
    offers: request.tools.map((tool) => tool.name),
    after: answers.length === 0 ? 'person' : afterTools(answers),
    answers,
  };
}

/** The values for the rule's templates when all its conditions hold. */
export function match(rule: Rule, situation: Situation): TemplateValues | undefined {
  const { when = {} } = rule;
  if (when.step !== undefined && when.step !== situation.step) return undefined;
  if (when.after !== undefined && when.after !== situation.after) return undefined;
  if (when.offers !== undefined && !situation.offers.includes(when.offers)) return undefined;
  const matched = new RegExp(when.text ?? '', 'iu').exec(
    situation.text.slice(0, MAX_MATCHED_CHARS),
  );
  if (matched === null) return undefined;
  return {
    ...Object.fromEntries(matched.map((group, index) => [String(index), group])),
    ...matched.groups,
    text: situation.text,
    result: quote(situation.answers.filter((answer) => !answer.isError)),
    error: quote(situation.answers.filter((answer) => answer.isError)),
  };
}

function stepsSince(messages: readonly ModelMessage[], asked: number): number {
  return messages.slice(asked + 1).filter((message) => message.role === 'assistant').length;
}

function afterTools(answers: readonly ToolAnswer[]): 'results' | 'failure' {
  return answers.some((answer) => answer.isError) ? 'failure' : 'results';
}

function quote(answers: readonly ToolAnswer[]): string {
  return answers.map((answer) => cut(contentOf(answer.text))).join('\n');
}

/** A file's content where the result has one, otherwise the whole result. */
function contentOf(text: string): string {
  try {
    const { content } = JSON.parse(text);
    return typeof content === 'string' ? content : text;
  } catch {
    // Most results are not JSON objects with content; they are quoted as they are.
    return text;
  }
}

function cut(text: string): string {
  return text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text;
}
