import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import { CallSchema, ResumeSchema } from '@zerolatency/proto/call';
import type { CallerOutcome, CallIntent } from '../../src/index.ts';
import type { CallPlan } from './schedule.ts';

interface Execution {
  readonly machineCrashes: number;
  readonly result: Buffer;
}

/** What truly happened to one call, and what the host was told. */
export interface Testimony {
  readonly plan: CallPlan;
  readonly executions: Execution[];
  /** In true time. A caller of release 0.1.0 has none, because its clock and the device's may differ. */
  readonly deadlineMs: number;
  intent?: CallIntent;
  outcome?: CallerOutcome;
  /** As the device told it last. */
  told?: {
    readonly outcome: Buffer;
    readonly machineCrashes: number;
    readonly rollbacks: number;
  };
  granted: number;
}

/** Sees everything, and holds it against what the protocol promises. */
export class Witness {
  readonly violations: string[] = [];
  readonly calls = new Map<string, Testimony>();
  machineCrashes = 0;
  /** The disk lost durable writes. */
  rollbacks = 0;

  planned(callId: string, plan: CallPlan, nowMs: number): void {
    const deadlineMs = plan.isOlder ? Number.POSITIVE_INFINITY : nowMs + plan.timeoutMs;
    this.calls.set(callId, { plan, executions: [], deadlineMs, granted: 0 });
  }

  /** The tool acts. Gives back what it will produce, which is different each time. */
  executed(callId: string, nowMs: number): Buffer {
    const call = this.#call(callId);
    const { plan, executions, outcome } = call;
    const last = executions.at(-1);
    const result = bytesOf(`${callId} ${executions.length}`, plan.resultBytes);
    const { machineCrashes } = this;
    executions.push({ machineCrashes, result });
    if (nowMs >= call.deadlineMs) this.violate(callId, 'began after its deadline');
    if (call.intent === undefined) this.violate(callId, 'ran without an intent in the ledger');
    if (outcome && outcome.status !== 'unknown') {
      this.violate(callId, `ran after it had ended as ${outcome.status}`);
    }
    // Without effects, an entry may be lost with the machine, and only then run again.
    const mayRepeat = !plan.hasEffects && last && last.machineCrashes < machineCrashes;
    if (last && !mayRepeat) this.violate(callId, 'ran twice');
    for (const other of this.calls.values()) {
      const isRetry = other !== call && other.plan === plan && other.executions.length > 0;
      if (isRetry) this.violate(callId, 'ran again under another id');
    }
    return result;
  }

  /** The caller's credit, and the device's use of it. */
  hostSaid(frame: Frame): void {
    const callId = callKey(frame.callId);
    const granted = creditOf(frame);
    const call = this.calls.get(callId);
    if (call) call.granted = Math.max(call.granted, granted);
  }

  deviceSaid({ kind, callId, offset, payload }: Frame): void {
    const key = callKey(callId);
    if (kind === FrameKind.OUTCOME) this.#told(key, payload);
    if (kind !== FrameKind.DATA || payload.length === 0) return;
    if (offset + payload.length > this.#call(key).granted) this.violate(key, 'sent beyond credit');
  }

  /** The device says how the call ended. */
  #told(callId: string, outcome: Uint8Array): void {
    const call = this.#call(callId);
    const { machineCrashes, rollbacks } = this;
    const before = call.told;
    call.told = { outcome: Buffer.from(outcome), machineCrashes, rollbacks };
    if (before === undefined || before.outcome.equals(outcome)) return;
    // A disk that lost an outcome leaves the device without it, and a call without effects may run again.
    const mayChange =
      before.rollbacks < rollbacks ||
      (!call.plan.hasEffects && before.machineCrashes < machineCrashes);
    if (!mayChange) this.violate(callId, 'was reported with two outcomes');
  }

  intended(intent: CallIntent): void {
    this.#call(intent.callId).intent ??= intent;
  }

  settled(callId: string, outcome: CallerOutcome, delivered: Uint8Array | undefined): void {
    const call = this.#call(callId);
    if (call.outcome) this.violate(callId, 'got two outcomes');
    call.outcome = outcome;
    const { executions } = call;
    const runs = executions.length;
    if (outcome.status === 'done') this.#checkDone(callId, call, delivered);
    const statesNotRun = outcome.receipt.length === 0 && outcome.status !== 'unknown';
    const isSealedUnrun = Buffer.from(outcome.receipt).toString() === 'not begun';
    if (runs > 0 && (outcome.status === 'denied' || statesNotRun || isSealedUnrun)) {
      this.violate(callId, `ended as ${outcome.status}, ${outcome.error?.message}, though it ran`);
    }
    if (outcome.error?.id === 'tool.result_invalid' && call.plan.hasEffects) {
      this.violate(callId, 'got a result that does not match its digest');
    }
  }

  delivered(callId: string, bytes: Uint8Array): void {
    const { plan, executions } = this.#call(callId);
    const isPrefix = executions.some(({ result }) =>
      result.subarray(0, bytes.length).equals(bytes),
    );
    // Two runs of a tool without effects may differ; the digest tells in the end.
    if (plan.hasEffects && !isPrefix) this.violate(callId, 'got bytes out of order');
  }

  violate(callId: string, what: string): void {
    this.violations.push(`${what} (call ${this.calls.get(callId)?.plan.call ?? callId})`);
  }

  #checkDone(callId: string, call: Testimony, delivered: Uint8Array | undefined): void {
    const { plan, executions, outcome } = call;
    if (executions.length === 0) this.violate(callId, 'is done and never ran');
    const digests = executions.map(({ result }) => digestOf(result));
    if (!digests.some((digest) => digest.equals(outcome?.resultDigest ?? Buffer.of()))) {
      this.violate(callId, 'is done with the digest of no result');
    }
    if (delivered === undefined) return;
    if (outcome?.resultBytes !== plan.resultBytes || delivered.length !== plan.resultBytes) {
      this.violate(callId, 'is done with a result that is not whole');
    } else if (!executions.some(({ result }) => result.equals(delivered))) {
      this.violate(callId, 'is done with bytes that no run produced');
    }
  }

  #call(callId: string): Testimony {
    const call = this.calls.get(callId);
    if (call === undefined) throw new Error(`nobody planned call ${callId}`);
    return call;
  }
}

function creditOf({ kind, offset, payload }: Frame): number {
  if (kind === FrameKind.CALL) return Number(fromBinary(CallSchema, payload).credit);
  if (kind === FrameKind.RESUME) return Number(fromBinary(ResumeSchema, payload).credit);
  return kind === FrameKind.CREDIT ? offset : 0;
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function bytesOf(name: string, length: number): Buffer {
  const block = digestOf(Buffer.from(name));
  return Buffer.alloc(length, block);
}
