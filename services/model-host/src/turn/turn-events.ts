import type { MessageInitShape } from '@bufbuild/protobuf';
import { toErrorMessage, type ZlError } from '@zerolatency/errors';
import { CallOutcome, type ChatEventSchema } from '@zerolatency/proto/agent';
import type { Outcome } from '@zerolatency/receipts';
import { durationFromMicros } from '@zerolatency/service/rpc';
import type { CallProgress, PreparedCall, ToolResult } from '../ports.ts';
import type { TokenUsage } from '../providers/port.ts';

/** The body of an event; its head is added when a reader takes it. */
export type TurnEvent = Extract<
  NonNullable<MessageInitShape<typeof ChatEventSchema>['event']>,
  { case: string }
>;

/** Where a turn's events go. */
export interface EventLog {
  /** Its slowest reader is too far behind. */
  readonly isFull: boolean;
  append(event: TurnEvent): void;
  /** Resolves when the readers have caught up, or on abort. */
  room(signal: AbortSignal): Promise<void>;
  /** No event follows. */
  close(): void;
}

const CALL_OUTCOMES = {
  done: CallOutcome.DONE,
  failed: CallOutcome.FAILED,
  denied: CallOutcome.DENIED,
  cancelled: CallOutcome.CANCELLED,
  unknown: CallOutcome.UNKNOWN,
} as const satisfies Record<Outcome, CallOutcome>;

/** Writes one turn's events; nothing follows the terminal one. */
export class TurnEvents {
  readonly #log: EventLog;

  constructor(log: EventLog) {
    this.#log = log;
  }

  get isFull(): boolean {
    return this.#log.isFull;
  }

  room(signal: AbortSignal): Promise<void> {
    return this.#log.room(signal);
  }

  delta(text: string): void {
    if (text !== '') this.#log.append({ case: 'assistantDelta', value: { text } });
  }

  started(call: PreparedCall, step: number): void {
    const { callId, tool, argumentsJson, argumentsDigest } = call;
    const value = { callId, tool, argumentsJson, argumentsDigest, step };
    this.#log.append({ case: 'toolCallStarted', value });
  }

  progress(callId: string, { receivedBytes, ...reported }: CallProgress): void {
    const value = { callId, receivedBytes: BigInt(receivedBytes), ...reported };
    this.#log.append({ case: 'toolCallDelta', value });
  }

  finished(callId: string, result: ToolResult): void {
    const { outcome, resultJson, error, receiptJson, timing } = result;
    this.#log.append({
      case: 'toolCallDone',
      value: {
        callId,
        outcome: CALL_OUTCOMES[outcome],
        resultJson,
        error: error && toErrorMessage(error),
        receiptJson,
        timing: {
          total: durationFromMicros(timing.totalUs),
          remote: durationFromMicros(timing.remoteUs),
          device: durationFromMicros(timing.deviceUs),
          server: durationFromMicros(timing.serverUs),
        },
      },
    });
  }

  usage({ inputTokens, outputTokens }: TokenUsage): void {
    const value = { inputTokens: BigInt(inputTokens), outputTokens: BigInt(outputTokens) };
    this.#log.append({ case: 'usage', value });
  }

  done(value: Extract<TurnEvent, { case: 'assistantDone' }>['value']): void {
    this.#log.append({ case: 'assistantDone', value });
    this.#log.close();
  }

  error(error: ZlError): void {
    this.#log.append({ case: 'error', value: toErrorMessage(error) });
    this.#log.close();
  }
}
