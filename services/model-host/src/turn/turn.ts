import { fromUnknown, type Happened, ZlError } from '@zerolatency/errors';
import { durationFromMicros } from '@zerolatency/service/rpc';
import { EffectTracker } from '../calls/settle.ts';
import type { Quotas } from '../limits/quotas.ts';
import type { CallCounts, CallOptions, Recorder, Toolbox, Toolboxes, TurnScope } from '../ports.ts';
import type { Critic, Model } from '../providers/models.ts';
import type { ModelMessage } from '../providers/port.ts';
import type { Prices } from '../providers/prices.ts';
import { type Reply, textOf, userMessage } from '../providers/reply.ts';
import type { RetryOptions } from '../providers/route.ts';
import { type SpentTokens, TokenBudget, type TokenLimits, type TurnLimits } from './budget.ts';
import { critique, rejection, revisionPrompt } from './critic.ts';
import { type ModelStep, reprompt, runModelStep, systemPrompt } from './model-step.ts';
import { nestedTurns } from './nested-turns.ts';
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
import {
  type AskedCall,
  assistantMessage,
  openToolbox,
  readCalls,
  runToolStep,
} from './tool-step.ts';
import { STOP_REASONS, TurnLog, UNREAD, usageOf } from './turn-log.ts';

const TURN_ABORT = { aborted: 'turn.cancelled' } as const;

export interface TurnRequest {
  readonly scope: TurnScope;
  readonly model: Model;
  readonly limits: TurnLimits;
  /** Before it had a slot. */
  readonly queuedMs?: number;
  /** The conversation so far; the last message is the new one. */
  readonly messages: readonly ModelMessage[];
  /** Run in place of a conversation with the model. */
  readonly call?: AskedCall | undefined;
  /** The turn goes on without its device when that cannot be reached. */
  readonly deviceOptional?: boolean;
  /** Whether another target may answer anew after a reply that broke off in its text. */
  readonly mayReplaceText?: boolean | undefined;
  /** 0 for a person's turn; a turn that a tool call starts is one level deeper. */
  readonly depth: number;
  /** The call that started a nested turn, and where the events of its own calls go. */
  readonly parentCallId?: string;
  readonly callEvents?: TurnLog;
  /** Before the instructions that every turn gives its model. */
  readonly prompt?: string | undefined;
  /** Those that the model may see and call; all when undefined. */
  readonly tools?: readonly string[] | undefined;
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
  readonly prices: Pick<Prices, 'costOf'>;
  readonly quotas: Quotas;
  readonly bounds: TurnBounds;
  readonly retries: RetryOptions;
  readonly observer: TurnObserver;
  readonly nowMs: () => number;
  /** @throws provider.unknown_model */
  readonly resolveModel: (alias: string, tenant: string) => Model;
  readonly runNested: (request: NestedRequest, signal: AbortSignal) => Promise<TurnEnd>;
}

/** Its scope but for the turn's id, its limits and its end come from the outer turn. */
export type NestedRequest = Omit<TurnRequest, 'scope' | 'model'> & {
  readonly scope: Omit<TurnScope, 'turnId'>;
  /** Or its alias. */
  readonly model: Model | string;
};

export interface TurnEnd {
  readonly state: EndState;
  /** By its calls and the turns nested in it. */
  readonly happened: Happened;
  /** What the turn adds to the conversation; empty unless it is done. */
  readonly messages: readonly ModelMessage[];
  /** The text after the last tool result; empty unless the turn is done. */
  readonly answer: string;
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
  readonly #deadlineMs: number;
  readonly #clock: TurnClock;
  readonly #effects = new EffectTracker();
  #scope: TurnScope;
  #toolbox: Toolbox = UNOPENED;
  #reply: Reply = { parts: [], toolCalls: [], stop: 'end', target: undefined };
  #calls: readonly AskedCall[] = [];
  /** Whether the answers to the last calls stand, once their receipts are durable. */
  #answersStand = Promise.resolve(true);
  /** An answer that was to be written again, and the message that said so. */
  #superseded: readonly ModelMessage[] = [];
  #auditId = '';
  #checkpoint = '';

  constructor(request: TurnRequest, deps: TurnDeps, events: TurnLog) {
    this.#request = request;
    this.#scope = request.scope;
    this.#deps = deps;
    this.#events = events;
    this.#budget = new TokenBudget(request.limits);
    this.#messages = [...request.messages];
    this.#callCounts = request.callCounts ?? new Map();
    this.#startedAtMs = deps.nowMs();
    this.#deadlineMs = performance.now() + request.limits.timeoutMs;
    this.#clock = new TurnClock(request.queuedMs);
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
    // A defect that rejects it has ended the turn.
    await this.#answersStand.catch(() => {});
    const { happened } = this.#effects;
    if (state.at !== 'done') state = { ...state, error: state.error.after(happened) };
    await this.#reportEnd(state);
    const added = state.at === 'done' ? this.#said() : [];
    const last = added.findLast((message) => message.role === 'assistant');
    const answer = last === undefined ? '' : textOf(last.content);
    return { state, happened, messages: added, answer, usage: this.#budget.spentInAll };
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
        case 'critiquing':
          return await this.#clock.waited(() => this.#critique(state.critic, signal));
        case 'acting':
          return await this.#clock.waited(() => this.#callTools(state.step, signal));
        case 'responding':
          await this.#answersStand;
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
    const open = (scope: TurnScope) => {
      const options = { counts: this.#callCounts, tools: this.#request.tools };
      return this.#deps.toolboxes.open(scope, signal, options);
    };
    const { scope, toolbox, away } = await openToolbox(this.#request, open);
    if (away !== undefined) this.#events.deviceUnavailable(this.#scope.deviceId, away);
    [this.#scope, this.#toolbox] = [scope, toolbox];
    const { call } = this.#request;
    if (call !== undefined) {
      this.#calls = [call];
      return { type: 'asked', calls: 1, depth: this.#request.depth + 1 };
    }
    const { withheld } = this.#toolbox;
    if (withheld !== undefined) {
      this.#deps.recorder.recordWithheld(this.#scope, withheld);
      this.#events.withheld(withheld);
    }
    return { type: 'begin' };
  }

  async #callModel(signal: AbortSignal): Promise<TurnInput> {
    const { tools } = this.#toolbox;
    const { tenant } = this.#request.scope.identity;
    const system = systemPrompt(tools, this.#request.prompt);
    const request = { tenant, system, messages: this.#messages, tools };
    const step = { ...this.#stepParts, model: this.#request.model, request };
    this.#reply = await runModelStep(step, signal);
    const { calls, fault } = readCalls(this.#reply, this.#deps.bounds.maxCallsPerStep);
    if (fault !== undefined) {
      this.#deps.observer.unreadable(fault.in);
      const text = textOf(this.#reply.parts);
      if (text !== '')
        this.#messages.push({ role: 'assistant', content: [{ type: 'text', text }] });
      this.#messages.push(userMessage(reprompt(fault.reason)));
      return { type: 'unparsable', reason: fault.reason };
    }
    this.#calls = calls;
    const said = assistantMessage(this.#reply, calls);
    if (said !== undefined) this.#messages.push(said);
    if (calls.length === 0) return { type: 'answered', critic: this.#request.model.critic };
    // As with max_steps: a tool must not run when no model call could read its result.
    this.#budget.refuseWhenSpent();
    return { type: 'asked', calls: calls.length, depth: this.#request.depth + 1 };
  }

  /** What all model calls of the turn share. */
  get #stepParts(): Omit<ModelStep, 'model' | 'request'> {
    const { retries, prices, quotas, observer } = this.#deps;
    return {
      ...{ retries, prices, observer, budget: this.#budget, events: this.#events },
      deadlineMs: this.#deadlineMs,
      mayReplaceText: this.#request.mayReplaceText ?? false,
      reserve: (tokens, costOf) => quotas.modelCall(this.#scope.identity, tokens, costOf),
      answersStand: this.#answersStand,
      onFirstText: (providerWaitMs) => this.#onFirstText(providerWaitMs),
    };
  }

  async #critique(critic: Critic, signal: AbortSignal): Promise<TurnInput> {
    const { identity } = this.#scope;
    const step = {
      ...this.#stepParts,
      model: this.#deps.resolveModel(critic.model, identity.tenant),
      // The person reads the verdict, and nothing else of it.
      ...{ events: new TurnLog(this.#scope, UNREAD), onFirstText() {}, mayReplaceText: true },
      ...{ messages: this.#messages, tenant: identity.tenant },
    };
    const found = await critique(critic, step, signal);
    this.#deps.observer.critiqued(found);
    const isRepeated = found.verdict === 'retry' && this.#superseded.length === 0;
    this.#events.critique(found, isRepeated);
    if (isRepeated) {
      const asked = userMessage(revisionPrompt(found.reason));
      this.#superseded = [...this.#messages.slice(-1), asked];
      this.#messages.push(asked);
      return { type: 'rejected' };
    }
    const verdict = found.verdict === 'retry' ? critic.otherwise : found.verdict;
    if (verdict === 'accept') return { type: 'accepted' };
    throw rejection(found);
  }

  async #callTools(step: number, signal: AbortSignal): Promise<TurnInput> {
    const share = this.#budget.shareAmong(this.#calls.length);
    const { callIds, answersStand } = await runToolStep(
      {
        ...{ toolbox: this.#toolbox, calls: this.#calls, messages: this.#messages, step },
        ...{ events: this.#callEvents, effects: this.#effects },
        parentCallId: this.#request.parentCallId ?? '',
        startTurn: (callId) => this.#nestedTurns(callId, share),
        maxResultBytes: this.#deps.bounds.maxToolResultBytes,
      },
      signal,
    );
    this.#callIds.push(...callIds);
    this.#answersStand = answersStand;
    signal.throwIfAborted();
    return { type: this.#request.call === undefined ? 'acted' : 'answered' };
  }

  /** Calls of nested turns are events of the turn that a client reads. */
  get #callEvents(): TurnLog {
    return this.#request.callEvents ?? this.#events;
  }

  /** Made when the call starts its first turn, which few calls do. */
  #nestedTurns(parentCallId: string, share: TokenLimits): NonNullable<CallOptions['startTurn']> {
    const { model, limits, depth } = this.#request;
    const same = {
      ...{ scope: this.#scope, callCounts: this.#callCounts, parentCallId },
      // Nobody reads the text of a nested turn before it is whole.
      mayReplaceText: true,
    };
    let turns: CallOptions['startTurn'];
    return (...task) => {
      turns ??= nestedTurns({
        share,
        budget: this.#budget,
        run: ({ text, model: alias, prompt, tools }, left, signal) => {
          const nested = {
            ...{ ...same, callEvents: this.#callEvents, depth: depth + 1 },
            ...{ model: alias || model, prompt, tools },
            messages: [userMessage(text)],
            limits: { ...limits, ...left },
          };
          return this.#deps.runNested(nested, signal);
        },
      });
      return turns(...task);
    };
  }

  /** What the turn adds to the conversation, without an answer that another one has replaced. */
  #said(): ModelMessage[] {
    const added = this.#messages.slice(this.#request.messages.length);
    return added.filter((message) => !this.#superseded.includes(message));
  }

  #onFirstText(providerWaitMs: number): void {
    const figures = this.#clock.firstText(providerWaitMs);
    if (figures !== undefined) this.#deps.observer.firstToken(figures);
  }

  #record(outcome: EndState['at'], steps: number, errorId?: ZlError['id']): Promise<string> {
    const { inputTokens, outputTokens, costNanoUsd, unpricedCalls } = this.#budget.spent;
    return this.#deps.recorder.recordTurn({
      scope: this.#scope,
      parentCallId: this.#request.parentCallId,
      outcome,
      ...(errorId !== undefined && { errorId }),
      steps,
      ...{ inputTokens, outputTokens },
      ...(unpricedCalls === 0 && { costNanoUsd }),
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
      answered: this.#reply.target,
    });
    if (state.at !== 'done') return this.#events.error(state.error);
    this.#reportDone(state.step);
  }

  #reportDone(steps: number): void {
    const { stop, target } = this.#reply;
    this.#events.done({
      reason: STOP_REASONS[stop],
      usage: usageOf(this.#budget.spentInAll),
      steps,
      auditId: this.#auditId,
      provider: target?.provider.name ?? '',
      model: target?.model ?? '',
      timeToFirstToken: durationFromMicros(this.#clock.firstTextUs),
      total: durationFromMicros(this.#clock.totalUs),
      ...(this.#clock.queuedUs > 0 && { queued: durationFromMicros(this.#clock.queuedUs) }),
      checkpoint: this.#checkpoint,
    });
  }
}

const UNOPENED: Toolbox = {
  tools: [],
  prepare: (tool) => {
    throw new ZlError('internal', `${tool} was called before the toolbox was open`);
  },
};
