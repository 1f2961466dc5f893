import { type Context, ROOT_CONTEXT, type Span, trace } from '@opentelemetry/api';
import type { CalleeCall, CalleeOutcome, Seal } from '@zerolatency/call';
import type { Caps, HeldDecision, PolicyRequest } from '@zerolatency/policy';
import { type Receipt, signReceipt } from '@zerolatency/receipts';
import { inject } from '@zerolatency/service/telemetry';
import type { Digest, Signer } from '@zerolatency/signing';
import { type ResultLimit, readToolRequest, type ToolRequest } from './tool-request.ts';

export interface Device {
  readonly id: string;
  readonly tenant: string;
}

/** A receipt needs a name even when the caller gave none. */
const NOBODY = 'unknown';
const MAX_NAME_CHARS = 256;

/** What a server says of a tool, and the bridge of the server. */
export type ServerFacts = Pick<PolicyRequest, 'version' | 'pathBases' | 'hasEffects' | 'inSandbox'>;

/** One call on its way through the bridge. */
export class Run {
  readonly call: CalleeCall;
  readonly request: ToolRequest;
  readonly span: Span;
  readonly abort = new AbortController();
  readonly startedAt: string;
  readonly #startMs = performance.now();
  readonly #maxResultBytes: number;
  decision: HeldDecision | undefined;
  /** What the policy decided by, beside the request. */
  facts: ServerFacts = { version: '' };
  /** Whether the device offered the tool when the call arrived. */
  isOffered = false;
  serverUs = 0;

  constructor(call: CalleeCall, span: Span, maxResultBytes: number) {
    this.call = call;
    this.request = readToolRequest(call);
    this.span = span;
    this.#maxResultBytes = maxResultBytes;
    this.startedAt = new Date().toISOString();
  }

  get elapsedUs(): number {
    return microseconds(this.#startMs);
  }

  get #caps(): Caps {
    return this.decision?.effect === 'allow' ? this.decision.caps : {};
  }

  /** The largest result that the caller, the policy and the device all allow. */
  get resultLimit(): ResultLimit {
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#caps;
    const others: ResultLimit[] = [
      { maxBytes, setBy: 'maxBytes of the policy' },
      {
        maxBytes: this.call.maxBytes || Number.POSITIVE_INFINITY,
        setBy: 'the host (tools.maxResult, or maxBytes of its policy)',
      },
    ];
    const own = { maxBytes: this.#maxResultBytes, setBy: 'calls.maxResult of the bridge' };
    return others.reduce((least, each) => (each.maxBytes < least.maxBytes ? each : least), own);
  }

  /** How long the server may take: until the deadline, or less by policy or manifest. */
  timeoutMs(leftMs: number, serverTimeoutMs: number): number {
    const { timeoutMs = serverTimeoutMs } = this.#caps;
    return Math.max(1, Math.min(leftMs, timeoutMs, serverTimeoutMs));
  }

  /** The trace context of everything logged about the call. */
  get context(): Context {
    return trace.setSpan(ROOT_CONTEXT, this.span);
  }

  /** The parent of the server's own spans. */
  get traceparent(): string {
    return inject(this.context) || this.call.traceparent;
  }
}

export function microseconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) * 1000);
}

/** The device's receipt for a call; `run` is missing when an earlier process ran it. */
export async function sealOutcome(
  { call, ending, run }: { call: CalleeCall; ending: CalleeOutcome; run: Run | undefined },
  { device, signer }: { readonly device: Device; readonly signer: Signer },
): Promise<Seal> {
  const { tool, argumentsDigest } = run?.request ?? readToolRequest(call);
  const deviceUs = run?.elapsedUs ?? 0;
  const receipt: Receipt = {
    role: 'device',
    executor: 'device',
    callId: call.callId,
    tool,
    argumentsDigest,
    ...outcomeOf(ending),
    ...policyOf(run),
    elapsedUs: deviceUs,
    startedAt: run?.startedAt ?? new Date().toISOString(),
    deviceId: device.id,
    tenant: nameOf(call.principal.tenant),
    user: nameOf(call.principal.user),
  };
  const envelope = JSON.stringify(await signReceipt(receipt, signer));
  return { receipt: Buffer.from(envelope), deviceUs, serverUs: run?.serverUs ?? 0 };
}

function outcomeOf({ status, errorId, resultDigest }: CalleeOutcome) {
  if (status === 'done') {
    const digest: Digest = `sha256:${Buffer.from(resultDigest).toString('hex')}`;
    return { outcome: status, resultDigest: digest };
  }
  return { outcome: status, errorId: errorId === '' ? ('internal' as const) : errorId };
}

function policyOf(run: Run | undefined) {
  const decision = run?.decision;
  const caps = decision?.effect === 'allow' ? decision.caps : {};
  if (!decision?.policyId) return { caps };
  return { caps, policyId: decision.policyId, policyDigest: decision.policyDigest as Digest };
}

/** A cut can halve a character, and a receipt holds only well-formed text. */
function nameOf(given: string): string {
  return given === '' ? NOBODY : given.slice(0, MAX_NAME_CHARS).toWellFormed();
}
