import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Model } from '../providers/models.ts';
import type { ModelPart, ModelRequest, ToolCallRequest } from '../providers/port.ts';
import { ReplyReader } from '../providers/reply-reader.ts';
import { estimateMessageTokens, estimateTokens, type TokenBudget, tokensOf } from './budget.ts';
import type { TurnEvents } from './turn-events.ts';
import type { TurnObserver } from './turn-observer.ts';

export interface Reply {
  readonly text: string;
  readonly toolCalls: readonly ToolCallRequest[];
  readonly cutByLength: boolean;
}

export interface ModelStep {
  readonly model: Model;
  readonly request: Omit<ModelRequest, 'model' | 'maxOutputTokens'>;
  readonly budget: TokenBudget;
  readonly events: TurnEvents;
  /** Told how long the call had waited for the provider by then. */
  readonly onFirstText: (providerWaitMs: number) => void;
  readonly observer: Pick<TurnObserver, 'providerBegan' | 'providerEnded'>;
}

// One for all, because making an error costs more than all else that ends a reply.
const replyIsOver = new ZlError('turn.cancelled', 'the reply is over');

/** One model call: what it says goes out as it comes in. */
export async function runModelStep(step: ModelStep, signal: AbortSignal): Promise<Reply> {
  const reservation = step.budget.reserve(estimateRequest(step.request));
  const reply = new ReplyInProgress(reservation);
  const request = {
    ...step.request,
    model: step.model.name,
    maxOutputTokens: reservation.outputTokens,
  };
  const calling = new AbortController();
  const onAbort = () => calling.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const reader = new ReplyReader(step.model.provider.stream(request, calling.signal), signal);
  try {
    await readParts(reader, reply, step, signal);
    step.observer.providerEnded('done', 'none');
  } catch (reason) {
    const { id } = fromUnknown(signal.aborted ? signal.reason : reason, {
      aborted: 'turn.cancelled',
    });
    step.observer.providerEnded(signal.aborted ? 'cancelled' : 'failed', id);
    throw reason;
  } finally {
    step.budget.settle(reservation, reply.usage);
    signal.removeEventListener('abort', onAbort);
    calling.abort(replyIsOver);
    await reader.close();
  }
  step.events.usage(reply.usage);
  return reply.end();
}

async function readParts(
  reader: ReplyReader,
  reply: ReplyInProgress,
  step: ModelStep,
  signal: AbortSignal,
): Promise<void> {
  const calledMs = performance.now();
  while (!reply.stopped) {
    const part = await reader.next();
    if (part === undefined) {
      throw new ZlError('provider.failed', 'the model stream ended before its reply did');
    }
    const { isEmpty } = reply;
    const providerWaitMs = reply.text === '' ? performance.now() - calledMs : 0;
    if (part.type === 'text') {
      step.events.delta(part.text);
      if (reply.text === '') step.onFirstText(providerWaitMs);
    }
    reply.add(part);
    if (isEmpty && !reply.isEmpty) step.observer.providerBegan(providerWaitMs / 1000);
    // The only other wait on the way of a token: nobody reads, so we stop reading.
    if (step.events.isFull) await step.events.room(signal);
  }
}

/** Collects the parts, and holds a provider to what was reserved. */
class ReplyInProgress {
  text = '';
  stopped = false;
  usage: { inputTokens: number; outputTokens: number };
  readonly #toolCalls: ToolCallRequest[] = [];
  readonly #maxOutputTokens: number;
  #cutByLength = false;
  #bytes = 0;
  #isCounted = false;

  constructor(reserved: { inputTokens: number; outputTokens: number }) {
    this.#maxOutputTokens = reserved.outputTokens;
    this.usage = { inputTokens: reserved.inputTokens, outputTokens: 0 };
  }

  get isEmpty(): boolean {
    return this.text === '' && this.#toolCalls.length === 0;
  }

  add(part: ModelPart): void {
    switch (part.type) {
      case 'text':
        this.text += part.text;
        this.#spend(part.text);
        break;
      case 'toolCall':
        this.#toolCalls.push(part.call);
        this.#spend(part.call.tool + part.call.argumentsText);
        break;
      case 'usage':
        this.#isCounted = true;
        this.usage = { inputTokens: part.inputTokens, outputTokens: part.outputTokens };
        break;
      case 'stop':
        this.stopped = true;
        this.#cutByLength = part.reason === 'length';
        break;
    }
  }

  end(): Reply {
    return { text: this.text, toolCalls: this.#toolCalls, cutByLength: this.#cutByLength };
  }

  // Estimates err by less than a factor of two, so a provider that keeps to its
  // limit is never cut, and one that does not cannot spend a second reservation.
  #spend(text: string): void {
    this.#bytes += Buffer.byteLength(text);
    const tokens = tokensOf(this.#bytes);
    if (!this.#isCounted) this.usage = { ...this.usage, outputTokens: tokens };
    if (tokens <= 2 * this.#maxOutputTokens) return;
    this.stopped = true;
    this.#cutByLength = true;
  }
}

function estimateRequest(request: ModelStep['request']): number {
  const tools = request.tools.reduce(
    (sum, tool) =>
      sum + estimateTokens(tool.description) + estimateTokens(JSON.stringify(tool.inputSchema)),
    0,
  );
  return request.messages.reduce(
    (sum, message) => sum + estimateMessageTokens(message),
    tools + estimateTokens(request.system),
  );
}
