import type { MessageInitShape } from '@bufbuild/protobuf';
import { toErrorMessage, type ZlError } from '@zerolatency/errors';
import {
  CallOutcome,
  type ChatEventSchema,
  CritiqueVerdict,
  StopReason,
} from '@zerolatency/proto/agent';
import type { Outcome } from '@zerolatency/receipts';
import { durationFromMicros } from '@zerolatency/service/rpc';
import { activeTraceId } from '@zerolatency/service/telemetry';
import type { PreparedCall, ToolCallProgress, ToolResult, WithheldTools } from '../ports.ts';
import type { Target } from '../providers/models.ts';
import type { Reply } from '../providers/reply.ts';
import type { SpentTokens } from './budget.ts';
import type { Critique } from './critic.ts';

/** The body of an event; its head is added when a reader takes it. */
export type TurnEvent = Extract<
  NonNullable<MessageInitShape<typeof ChatEventSchema>['event']>,
  { case: string }
>;

export interface LogEntry {
  readonly sequence: number;
  readonly event: TurnEvent;
  /** Bytes of the log before and after this entry. */
  readonly startBytes: number;
  readonly endBytes: number;
}

export interface LogListener {
  /** Bytes of the log it has taken. */
  readonly takenBytes: number;
  onAppend(): void;
}

export interface TurnLogBounds {
  /** A producer waits while its slowest reader is behind by as much. */
  readonly maxBehindBytes: number;
  /** Kept for readers that come back; older entries are dropped. */
  readonly windowBytes: number;
  readonly windowEvents: number;
}

/** Many seconds of a fast model's output; a reader that lags more has stalled. */
export const MAX_BEHIND_BYTES = 256 * 1024;

const DEFAULT_BOUNDS: TurnLogBounds = {
  maxBehindBytes: MAX_BEHIND_BYTES,
  windowBytes: 1024 * 1024,
  windowEvents: Number.POSITIVE_INFINITY,
};

/** For a nested turn: its tool reports the answer, and nobody reads its events. */
export const UNREAD: TurnLogBounds = {
  maxBehindBytes: Number.POSITIVE_INFINITY,
  windowBytes: 0,
  windowEvents: 0,
};

/** Memory of an entry beside its text, so that tiny deltas are bounded as well. */
const ENTRY_BYTES = 128;

const NANOS_PER_USD = 1_000_000_000;

/** As the contract of the event says. */
const MAX_WITHHELD_NAMED = 100;

const VERDICTS = {
  accept: CritiqueVerdict.ACCEPT,
  retry: CritiqueVerdict.RETRY,
  stop: CritiqueVerdict.STOP,
} as const satisfies Record<Critique['verdict'], CritiqueVerdict>;

export const STOP_REASONS = {
  end: StopReason.END,
  length: StopReason.LENGTH,
  filtered: StopReason.FILTERED,
} as const satisfies Record<Reply['stop'], StopReason>;

const CALL_OUTCOMES = {
  done: CallOutcome.DONE,
  failed: CallOutcome.FAILED,
  denied: CallOutcome.DENIED,
  cancelled: CallOutcome.CANCELLED,
  unknown: CallOutcome.UNKNOWN,
} as const satisfies Record<Outcome, CallOutcome>;

/**
 * The events of one turn. An event is frozen and numbered here before any
 * reader sees it, so every reader sees the same turn; readers are views that
 * may merge deltas. Entries beyond the window are dropped, the oldest first and
 * never before the live readers have taken them.
 */
export class TurnLog {
  readonly sessionId: string;
  readonly turnId: string;
  readonly #bounds: TurnLogBounds;
  readonly #listeners = new Set<LogListener>();
  #entries: LogEntry[] = [];
  #oldest = 0;
  #lastSequence = 0;
  #endBytes = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  /** A copy of another pod's log may begin later than with the first event. */
  constructor(
    turn: { sessionId: string; turnId: string },
    bounds = DEFAULT_BOUNDS,
    firstSequence = 1,
  ) {
    this.sessionId = turn.sessionId;
    this.turnId = turn.turnId;
    this.#bounds = bounds;
    this.#lastSequence = firstSequence - 1;
  }

  delta(text: string): void {
    if (text !== '') this.append({ case: 'assistantDelta', value: { text } });
  }

  started(
    { callId, tool, argumentsJson, argumentsDigest }: PreparedCall,
    asked: { readonly step: number; readonly parentCallId?: string },
  ): void {
    const value = { callId, tool, argumentsJson, argumentsDigest, ...asked };
    this.append({ case: 'toolCallStarted', value });
  }

  progress(callId: string, { receivedBytes, ...reported }: ToolCallProgress): void {
    const value = { callId, receivedBytes: BigInt(receivedBytes), ...reported };
    this.append({ case: 'toolCallDelta', value });
  }

  finished(callId: string, result: ToolResult): void {
    const { outcome, resultJson, error, receiptJson } = result;
    this.append({
      case: 'toolCallDone',
      value: {
        callId,
        outcome: CALL_OUTCOMES[outcome],
        resultJson,
        error: error && toErrorMessage(error, activeTraceId()),
        receiptJson,
        timing: {
          total: durationFromMicros(result.totalUs),
          remote: durationFromMicros(result.remoteUs),
          device: durationFromMicros(result.deviceUs),
          server: durationFromMicros(result.serverUs),
        },
      },
    });
  }

  withheld({ tools }: WithheldTools): void {
    const named = tools.slice(0, MAX_WITHHELD_NAMED);
    this.append({
      case: 'toolsWithheld',
      value: {
        count: tools.length,
        tools: named.map(({ tool, ruleId, reason }) => ({ tool, ruleId: ruleId ?? '', reason })),
      },
    });
  }

  critique({ verdict, reason, error }: Critique, supersedes: boolean): void {
    const told = error && toErrorMessage(error, activeTraceId());
    const value = { verdict: VERDICTS[verdict], reason, supersedes, error: told };
    this.append({ case: 'critique', value });
  }

  deviceUnavailable(deviceId: string, error: ZlError): void {
    const value = { deviceId, error: toErrorMessage(error, activeTraceId()) };
    this.append({ case: 'deviceUnavailable', value });
  }

  /** With the sequence of the first delta of the reply; 0 when it has none. */
  interrupted(
    { provider, model }: Target,
    { error, firstSequence }: { error: ZlError; firstSequence: number },
  ): void {
    const value = {
      ...{ provider: provider.name, model, firstSequence: BigInt(firstSequence) },
      error: toErrorMessage(error, activeTraceId()),
    };
    this.append({ case: 'providerInterrupted', value });
  }

  usage(spent: SpentTokens): void {
    this.append({ case: 'usage', value: usageOf(spent) });
  }

  /** No event follows. */
  done(value: Extract<TurnEvent, { case: 'assistantDone' }>['value']): void {
    this.append({ case: 'assistantDone', value });
    this.end();
  }

  /** No event follows. */
  error(error: ZlError): void {
    this.append({ case: 'error', value: toErrorMessage(error, activeTraceId()) });
    this.end();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the slowest live reader is too far behind. Without readers it never is. */
  get isFull(): boolean {
    return this.#behindBytes() >= this.#bounds.maxBehindBytes;
  }

  get endBytes(): number {
    return this.#endBytes;
  }

  get isRead(): boolean {
    return this.#listeners.size > 0;
  }

  /** Bytes of the entries that are still here. */
  get keptBytes(): number {
    return this.#endBytes - (this.#entries[this.#oldest]?.startBytes ?? this.#endBytes);
  }

  get firstSequence(): number {
    return this.#entries[this.#oldest]?.sequence ?? this.nextSequence;
  }

  /** The number of the event that is appended next. */
  get nextSequence(): number {
    return this.#lastSequence + 1;
  }

  at(sequence: number): LogEntry | undefined {
    if (sequence < this.firstSequence) return undefined;
    return this.#entries[this.#oldest + sequence - this.firstSequence];
  }

  attach(listener: LogListener): void {
    this.#listeners.add(listener);
  }

  detach(listener: LogListener): void {
    this.#listeners.delete(listener);
    this.taken();
    this.#drop();
  }

  taken(): void {
    if (this.#waiting.length > 0) this.#wake();
  }

  /** Resolves when every reader has caught up by half, or on abort. */
  async room(signal: AbortSignal): Promise<void> {
    if (!this.isFull || this.#isClosed || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = () => resolve();
    this.#waiting.push(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
  }

  /** Never refuses, so that a terminal event always fits; producers of bulk await room() first. */
  append(event: TurnEvent): void {
    if (this.#isClosed) return;
    this.#lastSequence += 1;
    const startBytes = this.#endBytes;
    this.#endBytes += ENTRY_BYTES + bytesOf(event);
    this.#entries.push(
      Object.freeze({
        sequence: this.#lastSequence,
        event: frozen(event),
        startBytes,
        endBytes: this.#endBytes,
      }),
    );
    for (const listener of this.#listeners) listener.onAppend();
    this.#drop();
  }

  /** No event follows. */
  end(): void {
    this.#isClosed = true;
    for (const listener of this.#listeners) listener.onAppend();
    this.#wake();
  }

  #wake(): void {
    const hasRoom = this.#behindBytes() <= this.#bounds.maxBehindBytes / 2;
    if (!hasRoom && !this.#isClosed) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #behindBytes(): number {
    let behind = 0;
    for (const { takenBytes } of this.#listeners) {
      behind = Math.max(behind, this.#endBytes - takenBytes);
    }
    return behind;
  }

  #drop(): void {
    const { windowBytes, windowEvents } = this.#bounds;
    const unreadFrom = this.#endBytes - this.#behindBytes();
    const windowFrom = this.#endBytes - windowBytes;
    const isOutside = (entry: LogEntry) =>
      entry.endBytes <= windowFrom || entry.sequence <= this.#lastSequence - windowEvents;
    for (;;) {
      const entry = this.#entries[this.#oldest];
      if (entry === undefined || entry.endBytes > unreadFrom || !isOutside(entry)) break;
      this.#oldest += 1;
    }
    // Cut in bulk, because shifting one at a time costs the whole array each time.
    if (this.#oldest <= this.#entries.length / 2) return;
    this.#entries = this.#entries.slice(this.#oldest);
    this.#oldest = 0;
  }
}

export function usageOf(spent: SpentTokens) {
  return {
    inputTokens: BigInt(spent.inputTokens),
    outputTokens: BigInt(spent.outputTokens),
    cachedInputTokens: BigInt(spent.cachedInputTokens),
    cacheWriteTokens: BigInt(spent.cacheWriteTokens),
    reasoningTokens: BigInt(spent.reasoningTokens),
    ...(spent.unpricedCalls === 0 && { cost: dollarsOf(spent.costNanoUsd) }),
  };
}

function dollarsOf(nanoUsd: number) {
  const nanos = nanoUsd % NANOS_PER_USD;
  return { currencyCode: 'USD', units: BigInt((nanoUsd - nanos) / NANOS_PER_USD), nanos };
}

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null && !ArrayBuffer.isView(part)) frozen(part);
  }
  return Object.freeze(value);
}

/** Bytes of the texts in an event, which others wrote. */
function bytesOf({ value }: TurnEvent): number {
  let bytes = 0;
  for (const part of Object.values(value)) {
    if (typeof part === 'string') bytes += Buffer.byteLength(part);
  }
  if ('error' in value) bytes += Buffer.byteLength(value.error?.message ?? '');
  return bytes;
}
