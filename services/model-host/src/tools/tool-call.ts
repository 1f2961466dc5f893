import { randomBytes } from 'node:crypto';
import { Caller, type CallerRequest } from '@zerolatency/call';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { HeldDecision } from '@zerolatency/policy';
import { newArgumentSalt } from '@zerolatency/receipts';
import type { Digest } from '@zerolatency/signing';
import type { PreparedCall, ToolResult } from '../ports.ts';
import { type CallArguments, readArguments, toolCallParams } from './call-arguments.ts';
import { callCaps, callFacts, digestBytes } from './call-facts.ts';
import { CallMachine } from './call-machine.ts';
import { dispatchCall } from './dispatch-call.ts';
import { type Ending, endedAs } from './ending.ts';
import type { CallFacts } from './ports.ts';
import { readEnding } from './read-ending.ts';
import { type RecordedEnding, recordCall } from './record-call.ts';
import type { RegisteredTool } from './registry.ts';
import { RemoteCall } from './remote-call.ts';
import type { TurnTools } from './turn-tools.ts';

type RunOptions = Parameters<PreparedCall['run']>[0];

/** A model may ask for anything; a receipt names it within bounds. */
const MAX_NAME_CHARS = 200;

/** One tool call of a turn, from the model's words to its receipt. */
export class ToolCall implements PreparedCall {
  readonly callId = randomBytes(16).toString('hex');
  readonly tool: string;
  readonly argumentsJson: string;
  readonly argumentsDigest: Digest;
  readonly #argumentSalt = newArgumentSalt();
  readonly #turn: TurnTools;
  readonly #arguments: CallArguments;
  readonly #machine = new CallMachine();
  #startedMs = 0;
  #isKnown = false;
  #version = '';
  #decision: HeldDecision | undefined;
  #remote: RemoteCall | undefined;

  constructor(turn: TurnTools, tool: string, argumentsJson: string) {
    this.#turn = turn;
    this.tool = tool.slice(0, MAX_NAME_CHARS).toWellFormed() || '(unnamed)';
    this.#arguments = readArguments(argumentsJson, this.#argumentSalt, turn.deps.metrics.masked);
    this.argumentsJson = this.#arguments.masked;
    this.argumentsDigest = this.#arguments.digest;
  }

  async run(options: RunOptions): Promise<ToolResult> {
    const { metrics, nowMs } = this.#turn.deps;
    this.#startedMs = nowMs();
    metrics.running(1);
    const ending = await this.#attempt(options);
    const recorded = await this.#record(ending);
    metrics.running(-1);
    return this.#tell(recorded);
  }

  /** Up to the socket there is no await unless something must be waited for. */
  async #attempt(options: RunOptions): Promise<Ending> {
    try {
      const tool = this.#turn.find(this.tool);
      this.#isKnown = tool !== undefined;
      this.#version = tool?.version ?? '';
      const decision = this.#turn.decide(this.tool, this.#version, this.#arguments.value);
      this.#decision = decision;
      if (decision.effect === 'deny') {
        this.#turn.deps.ledger.denied(this.#facts(), decision);
        return endedAs('denied', new ZlError(decision.errorId, `${this.tool}: ${decision.reason}`));
      }
      this.#machine.to('decided');
      return await this.#send(this.#validated(tool), options);
    } catch (reason) {
      return this.#stopped(reason, options.signal);
    }
  }

  #validated(tool: RegisteredTool | undefined): RegisteredTool {
    if (tool === undefined) throw new ZlError('tool.unknown', `no tool ${this.tool} on the device`);
    const { error, value } = this.#arguments;
    if (error !== undefined) throw error;
    const validator = tool.args();
    if ('error' in validator) throw validator.error;
    const fault = validator.validate(value).error;
    if (fault !== undefined) {
      throw new ZlError('tool.arguments_invalid', `arguments of ${this.tool}: ${fault.message}`);
    }
    this.#machine.to('validated');
    return tool;
  }

  async #send(tool: RegisteredTool, { signal, onProgress }: RunOptions): Promise<Ending> {
    const { ledger, nowMs, metrics } = this.#turn.deps;
    const route = this.#turn.route();
    const onRoute = (state: 'sent' | 'resuming') => {
      // A route that is closed while it is away is lost once more.
      if (this.#machine.phase === state) return;
      if (this.#machine.phase === 'resuming') metrics.resumed();
      this.#machine.to(state);
    };
    const request = this.#request(tool);
    const remote = new RemoteCall({
      route,
      nowMs,
      callId: this.callId,
      caller: (sink) => new Caller(request, sink),
      events: { onRoute, onProgress },
    });
    this.#remote = remote;
    const ending = await dispatchCall({
      remote,
      route,
      signal,
      machine: this.#machine,
      intend: (intent) => ledger.intend(this.#facts(), intent, tool.hasEffects),
    });
    const { masked: onMasked } = metrics;
    const read = readEnding(ending, { tool: this.tool, result: tool.result, onMasked });
    if (read.outcome !== 'cancelled' || signal.aborted) return read;
    // Nobody cancelled it: the caller machine stopped it at its deadline.
    const late = new ZlError('tool.timeout', `${this.tool} did not finish in time`);
    return { ...read, outcome: 'failed', error: late };
  }

  #request(tool: RegisteredTool): CallerRequest {
    const { deps, scope } = this.#turn;
    const { timeoutMs, maxBytes } = callCaps(deps.limits, this.#decision);
    const deadlineMs = deps.nowMs() + timeoutMs;
    const { tenant, user, roles } = scope.identity;
    return {
      callId: this.callId,
      server: tool.server,
      method: 'tools/call',
      params: toolCallParams(tool.method, this.#arguments),
      argumentSalt: this.#argumentSalt,
      deadlineMs,
      settleByMs: deadlineMs + deps.limits.graceMs,
      maxBytes,
      bundleDigest: digestBytes(this.#decision?.policyDigest ?? ''),
      principal: { tenant, user, roles },
      traceparent: deps.traceparent(),
    };
  }

  /** Before it was sent the truth is known; after, only the device and the caller machine can tell it. */
  #stopped(cause: unknown, signal: AbortSignal): Ending {
    const error = fromUnknown(cause);
    if (this.#machine.sent) {
      return endedAs('unknown', new ZlError('call.unknown_outcome', error.message, { cause }));
    }
    if (!signal.aborted) return endedAs('failed', error);
    const message = 'the call was cancelled before it was sent';
    return endedAs('cancelled', new ZlError('call.cancelled', message, { cause }));
  }

  async #record(ending: Ending): Promise<RecordedEnding> {
    const { signer, ledger } = this.#turn.deps;
    const elapsedUs = this.#elapsedUs();
    const recorded = await recordCall({ facts: this.#facts(), ending, elapsedUs, signer, ledger });
    this.#machine.to(recorded.ending.outcome);
    this.#remote?.release({ acknowledge: recorded.receiptJson !== '' });
    return recorded;
  }

  #tell({ ending, receiptJson }: RecordedEnding): ToolResult {
    const { outcome, error, resultJson, remoteUs, deviceUs, serverUs } = ending;
    const { metrics } = this.#turn.deps;
    const totalUs = this.#elapsedUs();
    const errorId = error?.id ?? '';
    // A name that a model made up is no label.
    const tool = this.#isKnown ? this.tool : 'other';
    metrics.ended({ tool, outcome, errorId, ms: totalUs / 1000 });
    if (outcome === 'done') {
      metrics.roundTrip('device', Math.max(0, remoteUs - deviceUs) / 1000);
      metrics.roundTrip('server', remoteUs / 1000);
    }
    const timing = { totalUs, remoteUs, deviceUs, serverUs };
    return { outcome, resultJson, receiptJson, timing, ...(error === undefined ? {} : { error }) };
  }

  #facts(): CallFacts {
    const { deps, scope } = this.#turn;
    const { callId, tool, argumentsDigest } = this;
    return callFacts({
      call: {
        executor: 'device',
        callId,
        tool,
        argumentsDigest,
        argumentSalt: this.#argumentSalt,
        toolVersion: this.#version || undefined,
      },
      scope,
      limits: deps.limits,
      decision: this.#decision,
      startedMs: this.#startedMs,
    });
  }

  #elapsedUs(): number {
    return Math.max(0, Math.round((this.#turn.deps.nowMs() - this.#startedMs) * 1000));
  }
}
