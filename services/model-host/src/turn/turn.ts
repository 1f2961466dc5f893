import { fromUnknown, type Happened, ZlError } from '@zerolatency/errors';
import { StopReason } from '@zerolatency/proto/agent';
import { durationFromMicros } from '@zerolatency/service/rpc';
import { EffectTracker } from '../calls/effect-tracker.ts';
import type { CallCounts, CallOptions, Recorder, Toolbox, Toolboxes, TurnScope } from '../ports.ts';
import type { Model } from '../providers/models.ts';
import type { AssistantPart, ModelMessage } from '../providers/port.ts';
import {
  type SpentTokens,
  TokenBudget,
  type TokenLimits,
  type TokenUsage,
  type TurnLimits,
} from './budget.ts';
import { type Reply, reprompt, runModelStep, systemPrompt } from './model-step.ts';
import {
  ADMITTED,
  type EndState,
  isEnd,
  stepOf,
  type TurnInput,
  type TurnState,
  transition,
} from './state.ts';
import { TurnClock, type TurnObserver } from './telemetry.ts';
import { type AskedCall, readArguments, runToolStep } from './tool-step.ts';
import { type TurnLog, usageOf } from './turn-log.ts';

const TURN_ABORT = { aborted: 'turn.cancelled' } as const;

export interface TurnRequest {
  readonly scope: TurnScope;
  readonly model: Model;
  readonly limits: TurnLimits;
  /** The conversation so far; the last message is the new one. */
  readonly messages: readonly ModelMessage[];
  /** Run in place of a conversation with the model. */
  readonly call?: AskedCall | undefined;
  /** 0 for a person's turn; a turn that a tool call starts is one level deeper. */
  readonly depth: number;
  /** The call that started a nested turn. */
  readonly parentCallId?: string;
  /** Shared with the outer turn; nested turns must not widen the limits on calls per turn. */
  readonly callCounts?: CallCounts;
}

export interface TurnBounds {
  readonly maxCallsPerStep: number;
  readonly maxToolResultBytes: number;
}

export interface TurnDeps {
  readonly toolboxes: Toolboxes;
  readonly recorder: Recorder;
  readonly bounds: TurnBounds;
  readonly observer: TurnObserver;
  readonly nowMs: () => number;
  readonly runNested: (request: NestedRequest, signal: AbortSignal) => Promise<TurnEnd>;
}

/** Its scope but for the turn's id, its limits and its end come from the outer turn. */
export type NestedRequest = Omit<TurnRequest, 'scope'> & {
  readonly scope: Omit<TurnScope, 'turnId'>;
};

export interface TurnEnd {
  readonly state: EndState;
  /** By its calls and the turns nested in it. */
  readonly happened: Happened;
  /** What the turn adds to the conversation; empty unless it is done. */
  readonly messages: readonly ModelMessage[];
  /** With the turns nested in it. */
  readonly usage: SpentTokens;
}

/** Drives the state machine of one turn: does what a state calls for and feeds the outcome back. */
export class Turn {
  readonly #request: TurnRequest;
  readonly #deps: TurnDeps;
  readonly #events: TurnLog;
  readonly #budget: TokenBudget;
  readonly #messages: ModelMessage[];
  readonly #callIds: string[] = [];
  readonly #callCounts: CallCounts;
  readonly #startedAtMs: number;
  readonly #clock = new TurnClock();
  readonly #effects = new EffectTracker();
  #toolbox: Toolbox = UNOPENED;
  #reply: Reply = { parts: [], toolCalls: [], stop: 'end' };
  #calls: readonly AskedCall[] = [];
  #auditId = '';
  #checkpoint = '';

  constructor(request: TurnRequest, deps: TurnDeps, events: TurnLog) {
    this.#request = request;
    this.#deps = deps;
    this.#events = events;
    this.#budget = new TokenBudget(request.limits);
    this.#messages = [...request.messages];
    this.#callCounts = request.callCounts ?? new Map();
    this.#startedAtMs = deps.nowMs();
  }

  /** Never rejects: every turn ends with one terminal event. */
  async run(signal: AbortSignal): Promise<TurnEnd> {
    let state = ADMITTED;
    while (!isEnd(state)) {
      const input = await this.#act(state, signal);
      const next = this.#next(state, input);
      this.#deps.observer.entered(next, state);
      state = next;
    }
    const { happened } = this.#effects;
    if (state.at !== 'done') state = { ...state, error: state.error.after(happened) };
    await this.#reportEnd(state);
    const added = state.at === 'done' ? this.#messages.slice(this.#request.messages.length) : [];
    return { state, happened, messages: added, usage: this.#budget.spentInAll };
  }

  #next(state: TurnState, input: TurnInput): TurnState {
    try {
      return transition(state, input, this.#request.limits);
    } catch (reason) {
      // A defect in the state machine must still end the turn.
      return transition(
        state,
        { type: 'stopped', error: fromUnknown(reason, TURN_ABORT) },
        this.#request.limits,
      );
    }
  }

  async #act(state: TurnState, signal: AbortSignal): Promise<TurnInput> {
    try {
      switch (state.at) {
        case 'admitted':
          return await this.#begin(signal);
        case 'acting':
          return await this.#clock.waited(() => this.#callTools(state.step, signal));
        case 'responding':
          // The answer is complete, so a cancel is too late from here on.
          this.#auditId = await this.#record('done', state.step);
          this.#checkpoint = await this.#deps.recorder.checkpoint();
          return { type: 'recorded' };
        default:
          return await this.#clock.waited(() => this.#callModel(signal));
      }
    } catch (reason) {
      return {
        type: 'stopped',
        error: fromUnknown(signal.aborted ? signal.reason : reason, TURN_ABORT),
      };
    }
  }

  async #begin(signal: AbortSignal): Promise<TurnInput> {
    signal.throwIfAborted();
    const { scope } = this.#request;
    this.#toolbox = await this.#deps.toolboxes.open(scope, signal, this.#callCounts);
    const { call } = this.#request;
    if (call !== undefined) {
      this.#calls = [call];
      return { type: 'asked', calls: 1, depth: this.#request.depth + 1 };
    }
    const { withheld } = this.#toolbox;
    if (withheld !== undefined) {
      this.#deps.recorder.recordWithheld(scope, withheld);
      this.#events.withheld(withheld);
    }
    return { type: 'begin' };
  }

  async #callModel(signal: AbortSignal): Promise<TurnInput> {
    const { tools } = this.#toolbox;
    this.#reply = await runModelStep(
      {
        model: this.#request.model,
        request: { system: systemPrompt(tools), messages: this.#messages, tools },
        budget: this.#budget,
        events: this.#events,
        onFirstText: (providerWaitMs) => this.#onFirstText(providerWaitMs),
        observer: this.#deps.observer,
      },
      signal,
    );
    const { toolCalls } = this.#reply;
    const reason = this.#readCalls();
    if (reason !== undefined) {
      this.#remember(textOf(this.#reply.parts));
      this.#messages.push(userMessage(reprompt(reason)));
      return { type: 'unparsable', reason };
    }
    this.#rememberReply();
    if (toolCalls.length === 0) return { type: 'answered' };
    // As with max_steps: a tool must not run when no model call could read its result.
    this.#budget.refuseWhenSpent();
    return { type: 'asked', calls: toolCalls.length, depth: this.#request.depth + 1 };
  }

  async #callTools(step: number, signal: AbortSignal): Promise<TurnInput> {
    const share = this.#budget.shareAmong(this.#calls.length);
    const { callIds, answers } = await runToolStep(
      {
        toolbox: this.#toolbox,
        calls: this.#calls,
        step,
        events: this.#events,
        effects: this.#effects,
        startTurn: (callId) => this.#nestedTurns(callId, share),
        maxResultBytes: this.#deps.bounds.maxToolResultBytes,
      },
      signal,
    );
    this.#callIds.push(...callIds);
    signal.throwIfAborted();
    this.#messages.push({ role: 'tool', content: answers });
    return { type: this.#request.call === undefined ? 'acted' : 'answered' };
  }

  /** Starts turns inside one call. All of them together spend no more than its share. */
  #nestedTurns(parentCallId: string, share: TokenLimits): NonNullable<CallOptions['startTurn']> {
    const { scope, model, limits, depth } = this.#request;
    const allowance = new TokenBudget(share);
    const charge = (usage: TokenUsage) => {
      allowance.chargeNested(usage);
      this.#budget.chargeNested(usage);
    };
    return async (text, signal) => {
      const left = allowance.shareAmong(1);
      // Set aside until it ends, because a call may start another one meanwhile.
      charge({ inputTokens: left.maxInputTokens, outputTokens: left.maxOutputTokens });
      const { state, happened, messages, usage } = await this.#deps.runNested(
        {
          scope,
          model,
          limits: { ...limits, ...left },
          messages: [userMessage(text)],
          depth: depth + 1,
          parentCallId,
          callCounts: this.#callCounts,
        },
        signal,
      );
      charge({
        ...usage,
        inputTokens: usage.inputTokens - left.maxInputTokens,
        outputTokens: usage.outputTokens - left.maxOutputTokens,
      });
      if (state.at !== 'done') return { outcome: state.at, happened, text: '', error: state.error };
      const answer = messages.findLast((message) => message.role === 'assistant');
      return {
        outcome: 'done',
        happened,
        text: answer === undefined ? '' : textOf(answer.content),
      };
    };
  }

  /** Returns why the calls of the reply cannot run; undefined when they can. */
  #readCalls(): string | undefined {
    const { toolCalls } = this.#reply;
    const { maxCallsPerStep } = this.#deps.bounds;
    if (toolCalls.length > maxCallsPerStep) {
      return `${toolCalls.length} tool calls at once, ${maxCallsPerStep} are allowed`;
    }
    this.#calls = toolCalls.map((request) => ({
      request,
      args: readArguments(request.input),
    }));
    const unreadable = this.#calls.find(({ args }) => args.error !== undefined);
    if (unreadable === undefined) return undefined;
    const { request, args } = unreadable;
    return `the arguments of ${request.toolName.slice(0, 100)} ${args.error?.message}`;
  }

  /** The reply as the next request repeats it, signatures included. */
  #rememberReply(): void {
    const inputs = new Map(this.#calls.map(({ request, args }) => [request, args.value]));
    const content = this.#reply.parts.flatMap((part): AssistantPart[] => {
      if (part.type !== 'tool-call') return [part];
      // A call that a filter stopped gets no result, and providers refuse one without.
      if (!inputs.has(part)) return [];
      const { type, toolCallId, toolName, providerMetadata: providerOptions } = part;
      const call = { type, toolCallId, toolName, input: inputs.get(part) };
      return [providerOptions === undefined ? call : { ...call, providerOptions }];
    });
    // Reasoning by itself is refused by its provider, and an empty message by all of them.
    if (content.some((part) => part.type !== 'reasoning')) {
      this.#messages.push({ role: 'assistant', content });
    }
  }

  #remember(text: string): void {
    if (text === '') return;
    this.#messages.push({ role: 'assistant', content: [{ type: 'text', text }] });
  }

  #onFirstText(providerWaitMs: number): void {
    const figures = this.#clock.firstText(providerWaitMs);
    if (figures !== undefined) this.#deps.observer.firstToken(figures);
  }

  #record(outcome: EndState['at'], steps: number, errorId?: ZlError['id']): Promise<string> {
    const { inputTokens, outputTokens } = this.#budget.spent;
    return this.#deps.recorder.recordTurn({
      scope: this.#request.scope,
      parentCallId: this.#request.parentCallId,
      outcome,
      ...(errorId !== undefined && { errorId }),
      steps,
      ...{ inputTokens, outputTokens },
      callIds: this.#callIds,
      startedAtMs: this.#startedAtMs,
      endedAtMs: this.#deps.nowMs(),
    });
  }

  async #reportEnd(state: EndState): Promise<void> {
    if (state.at !== 'done') {
      try {
        this.#auditId = await this.#record(state.at, stepOf(state), state.error.id);
      } catch (reason) {
        // The person learns why the turn ended; the missing record is for the operator.
        this.#deps.observer.unrecorded(reason);
      }
    }
    this.#deps.observer.ended(state, {
      auditId: this.#auditId,
      usage: this.#budget.spent,
    });
    if (state.at !== 'done') return this.#events.error(state.error);
    this.#reportDone(state.step);
  }

  #reportDone(steps: number): void {
    this.#events.done({
      reason: STOP_REASONS[this.#reply.stop],
      usage: usageOf(this.#budget.spentInAll),
      steps,
      auditId: this.#auditId,
      timeToFirstToken: durationFromMicros(this.#clock.firstTextUs),
      total: durationFromMicros(this.#clock.totalUs),
      checkpoint: this.#checkpoint,
    });
  }
}

const STOP_REASONS = {
  end: StopReason.END,
  length: StopReason.LENGTH,
  filtered: StopReason.FILTERED,
} as const satisfies Record<Reply['stop'], StopReason>;

export function userMessage(text: string): ModelMessage {
  return { role: 'user', content: [{ type: 'text', text }] };
}

function textOf(parts: readonly { readonly type: string; readonly text?: string }[]): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

const UNOPENED: Toolbox = {
  tools: [],
  prepare: (tool) => {
    throw new ZlError('internal', `${tool} was called before the toolbox was open`);
  },
};
