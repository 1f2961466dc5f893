import { setTimeout as sleep } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { LlmProvider, ModelPart, ModelRequest } from '../../providers/port.ts';
import type { ReplyPart, Script, ScriptedCall, TextPart } from './script.ts';
import { match, situationOf } from './situation.ts';
import { fill, fillDeep, type TemplateValues } from './template.ts';

const DEFAULT_CHUNK_CHARS = 16;
const CHARS_PER_TOKEN = 4;

/** A model that follows a script: the same every time, without a network. */
export function mockProvider(script: Script): LlmProvider {
  return {
    name: 'mock',
    stream: (request, signal) => play(script, request, signal),
  };
}

async function* play(
  script: Script,
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
  #isCounted = false;

  constructor(request: ModelRequest, values: TemplateValues, signal: AbortSignal) {
    this.#request = request;
    this.#values = values;
    this.#signal = signal;
  }

  async *parts(reply: readonly ReplyPart[]): AsyncGenerator<ModelPart> {
    let stop: 'end' | 'length' = 'end';
    for (const part of reply) {
      this.#signal.throwIfAborted();
      if ('stop' in part) stop = part.stop;
      else yield* this.#part(part);
    }
    if (!this.#isCounted) yield { type: 'usage', ...this.#estimate() };
    yield { type: 'stop', reason: stop === 'end' && this.#calls > 0 ? 'tools' : stop };
  }

  async *#part(part: Exclude<ReplyPart, { stop: unknown }>): AsyncGenerator<ModelPart> {
    if ('text' in part)
      yield* this.#text(typeof part.text === 'string' ? { value: part.text } : part.text);
    else if ('toolCalls' in part) yield* this.#toolCalls(part.toolCalls);
    else if ('waitMs' in part) await sleep(part.waitMs, undefined, { signal: this.#signal });
    else if ('fail' in part) throw new ZlError('provider.failed', fill(part.fail, this.#values));
    else if ('hang' in part) await aborted(this.#signal);
    else {
      this.#isCounted = true;
      yield { type: 'usage', ...part.usage };
    }
  }

  async *#text(part: TextPart): AsyncGenerator<ModelPart> {
    const chunks = chunksOf(fill(part.value, this.#values), part.chunkChars ?? DEFAULT_CHUNK_CHARS);
    for (let round = 0; round < (part.repeat ?? 1); round += 1) {
      for (const text of chunks) {
        if (part.delayMs) await sleep(part.delayMs, undefined, { signal: this.#signal });
        this.#signal.throwIfAborted();
        this.#outputChars += text.length;
        yield { type: 'text', text };
      }
    }
  }

  *#toolCalls(calls: readonly ScriptedCall[]): Generator<ModelPart> {
    for (const call of calls) {
      this.#calls += 1;
      const argumentsText =
        call.argumentsText === undefined
          ? JSON.stringify(fillDeep(call.arguments ?? {}, this.#values))
          : fill(call.argumentsText, this.#values);
      yield {
        type: 'toolCall',
        call: { id: `call-${this.#calls}`, tool: fill(call.tool, this.#values), argumentsText },
      };
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
