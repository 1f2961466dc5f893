import { setTimeout as sleep } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type {
  MockScript,
  Part,
  Rule,
  ToolCall,
} from '../../../../../contracts/gen/mock-script.d.ts';
import type {
  LlmProvider,
  ModelMessage,
  ModelPart,
  ModelRequest,
  ToolAnswer,
} from '../../providers/port.ts';
import { fill, fillDeep, type TemplateValues } from './script.ts';

type Usage = Extract<Part, { usage: unknown }>['usage'];
type Stop = Extract<Part, { stop: unknown }>['stop'];
type TextPart = Exclude<Extract<Part, { text: unknown }>['text'], string>;

const DEFAULT_CHUNK_CHARS = 16;
const CHARS_PER_TOKEN = 4;
const FINISHES = { end: 'stop', length: 'length' } as const satisfies Record<Stop, string>;
// Enough for any rule, and it bounds what a slow regular expression can cost.
const MAX_MATCHED_CHARS = 4096;
const MAX_QUOTED_CHARS = 4000;

/** A model that follows a script: the same every time, without a network. */
export function mockProvider(script: Pick<MockScript, 'rules'>): LlmProvider {
  return {
    name: 'mock',
    stream: (request, signal) => play(script, request, signal),
  };
}

async function* play(
  script: Pick<MockScript, 'rules'>,
  request: ModelRequest,
  signal: AbortSignal,
): AsyncGenerator<ModelPart> {
  const situation = situationOf(request);
  for (const rule of script.rules) {
    const values = match(rule, situation);
    if (values === undefined) continue;
    yield* new Reply(request, values, signal).parts(rule.reply);
    return;
  }
  throw new ZlError('provider.failed', 'no rule of the mock script fits');
}

class Reply {
  readonly #request: ModelRequest;
  readonly #values: TemplateValues;
  readonly #signal: AbortSignal;
  #calls = 0;
  #outputChars = 0;
  #usage: Usage | undefined;

  constructor(request: ModelRequest, values: TemplateValues, signal: AbortSignal) {
    this.#request = request;
    this.#values = values;
    this.#signal = signal;
  }

  async *parts(reply: readonly Part[]): AsyncGenerator<ModelPart> {
    let stop: Stop = 'end';
    for (const part of reply) {
      this.#signal.throwIfAborted();
      if ('stop' in part) stop = part.stop;
      else yield* this.#part(part);
    }
    const { inputTokens, outputTokens } = this.#usage ?? this.#estimate();
    yield {
      type: 'finish',
      finishReason: { unified: this.#calls > 0 && stop === 'end' ? 'tool-calls' : FINISHES[stop] },
      usage: { inputTokens: { total: inputTokens }, outputTokens: { total: outputTokens } },
    };
  }

  async *#part(part: Exclude<Part, { stop: unknown }>): AsyncGenerator<ModelPart> {
    if ('text' in part)
      yield* this.#text(typeof part.text === 'string' ? { value: part.text } : part.text);
    else if ('toolCalls' in part) yield* this.#toolCalls(part.toolCalls);
    else if ('waitMs' in part) await sleep(part.waitMs, undefined, { signal: this.#signal });
    else if ('fail' in part) throw new ZlError('provider.failed', fill(part.fail, this.#values));
    else if ('hang' in part) await aborted(this.#signal);
    else this.#usage = part.usage;
  }

  async *#text(part: TextPart): AsyncGenerator<ModelPart> {
    const chunks = chunksOf(fill(part.value, this.#values), part.chunkChars ?? DEFAULT_CHUNK_CHARS);
    for (let round = 0; round < (part.repeat ?? 1); round += 1) {
      for (const text of chunks) {
        if (part.delayMs) await sleep(part.delayMs, undefined, { signal: this.#signal });
        this.#signal.throwIfAborted();
        this.#outputChars += text.length;
        yield { type: 'text-delta', id: 'text', delta: text };
      }
    }
  }

  *#toolCalls(calls: readonly ToolCall[]): Generator<ModelPart> {
    for (const call of calls) {
      this.#calls += 1;
      const input =
        call.argumentsText === undefined
          ? JSON.stringify(fillDeep(call.arguments ?? {}, this.#values))
          : fill(call.argumentsText, this.#values);
      const toolName = fill(call.tool, this.#values);
      yield { type: 'tool-call', toolCallId: `call-${this.#calls}`, toolName, input };
    }
  }

  #estimate() {
    const input = JSON.stringify(this.#request.messages).length + this.#request.system.length;
    return {
      inputTokens: Math.ceil(input / CHARS_PER_TOKEN),
      outputTokens: Math.ceil(this.#outputChars / CHARS_PER_TOKEN),
    };
  }
}

/** Cut at characters, so that a chunk is never half of a surrogate pair. */
function chunksOf(text: string, chunkChars: number): string[] {
  const characters = [...text];
  const chunks: string[] = [];
  for (let start = 0; start < characters.length; start += chunkChars) {
    chunks.push(characters.slice(start, start + chunkChars).join(''));
  }
  return chunks;
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

type Situation = ReturnType<typeof situationOf>;

/** What a rule can ask about a model call. */
function situationOf(request: ModelRequest) {
  const { messages } = request;
  const last = messages.at(-1);
  const answers = last?.role === 'tool' ? last.content : [];
  // A tool loop adds assistant and tool messages after the person's.
  const asked = messages.findLastIndex((message) => message.role === 'user');
  const person = messages[asked];
  return {
    text: person?.role === 'user' ? textOf(person.content) : '',
    step: 1 + stepsSince(messages, asked),
    offers: request.tools.map((tool) => tool.name),
    after: answers.length === 0 ? ('person' as const) : afterTools(answers),
    answers,
  };
}

/** The values for the rule's templates when all its conditions hold. */
function match(rule: Rule, situation: Situation): TemplateValues | undefined {
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
    result: quote(situation.answers.filter((answer) => !isFailure(answer))),
    error: quote(situation.answers.filter(isFailure)),
  };
}

function stepsSince(messages: readonly ModelMessage[], asked: number): number {
  return messages.slice(asked + 1).filter((message) => message.role === 'assistant').length;
}

function afterTools(answers: readonly ToolAnswer[]): 'results' | 'failure' {
  return answers.some(isFailure) ? 'failure' : 'results';
}

function isFailure({ output }: ToolAnswer): boolean {
  return output.type === 'error-text';
}

function textOf(content: Extract<ModelMessage, { role: 'user' }>['content']): string {
  return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

function quote(answers: readonly ToolAnswer[]): string {
  return answers.map((answer) => cut(contentOf(answer.output.value))).join('\n');
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
