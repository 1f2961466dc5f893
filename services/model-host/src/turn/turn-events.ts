import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { toErrorMessage, type ZlError } from '@zerolatency/errors';
import { AssistantDeltaSchema, CallOutcome, ChatEventSchema } from '@zerolatency/proto/agent';
import type { Outcome } from '@zerolatency/receipts';
import { durationFromMicros } from '@zerolatency/service/rpc';
import type { PreparedCall, ToolResult, TurnScope } from '../ports.ts';
import type { EventQueue } from './event-queue.ts';

type EventInit = NonNullable<MessageInitShape<typeof ChatEventSchema>['event']>;

const callOutcomes = {
  done: CallOutcome.DONE,
  failed: CallOutcome.FAILED,
  denied: CallOutcome.DENIED,
  cancelled: CallOutcome.CANCELLED,
  unknown: CallOutcome.UNKNOWN,
} as const satisfies Record<Outcome, CallOutcome>;

/**
 * Writes one turn's events: numbers them without a gap, and nothing after the
 * terminal one. A number is given when an event enters the queue, and a delta
 * that merges takes none.
 */
export class TurnEvents {
  readonly #queue: EventQueue;
  readonly #scope: Pick<TurnScope, 'sessionId' | 'turnId'>;
  mergedDeltas = 0;
  #sequence = 0n;
  #ended = false;

  constructor(queue: EventQueue, scope: Pick<TurnScope, 'sessionId' | 'turnId'>) {
    this.#queue = queue;
    this.#scope = scope;
  }

  get full(): boolean {
    return this.#queue.full;
  }

  room(signal: AbortSignal): Promise<void> {
    return this.#queue.room(signal);
  }

  delta(text: string): void {
    if (text === '' || this.#ended) return;
    if (this.#queue.merge(this.#scope.turnId, text)) {
      this.mergedDeltas += 1;
      return;
    }
    this.#push({ case: 'assistantDelta', value: create(AssistantDeltaSchema, { text }) });
  }

  started(call: PreparedCall, step: number): void {
    const { callId, tool, argumentsJson, argumentsDigest } = call;
    this.#push({
      case: 'toolCallStarted',
      value: { callId, tool, argumentsJson, argumentsDigest, step },
    });
  }

  progress(callId: string, receivedBytes: number): void {
    this.#push({ case: 'toolCallDelta', value: { callId, receivedBytes: BigInt(receivedBytes) } });
  }

  finished(callId: string, result: ToolResult): void {
    const { totalUs, remoteUs, deviceUs, serverUs } = result.timing;
    this.#push({
      case: 'toolCallDone',
      value: {
        callId,
        outcome: callOutcomes[result.outcome],
        resultJson: result.outcome === 'done' ? result.resultJson : '',
        error: result.error && toErrorMessage(result.error),
        receiptJson: result.receiptJson,
        timing: {
          total: durationFromMicros(totalUs),
          remote: durationFromMicros(remoteUs),
          device: durationFromMicros(deviceUs),
          server: durationFromMicros(serverUs),
        },
      },
    });
  }

  usage(value: Extract<EventInit, { case: 'usage' }>['value']): void {
    this.#push({ case: 'usage', value });
  }

  done(value: Extract<EventInit, { case: 'assistantDone' }>['value']): void {
    this.#push({ case: 'assistantDone', value });
    this.#ended = true;
  }

  error(error: ZlError): void {
    this.#push({ case: 'error', value: toErrorMessage(error) });
    this.#ended = true;
  }

  #push(event: EventInit): void {
    if (this.#ended) return;
    this.#sequence += 1n;
    const { sessionId, turnId } = this.#scope;
    this.#queue.push(
      create(ChatEventSchema, {
        sequence: this.#sequence,
        firstSequence: this.#sequence,
        sessionId,
        turnId,
        event,
      }),
    );
  }
}
