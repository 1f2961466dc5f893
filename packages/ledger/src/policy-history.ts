import { type Caps, whyNotAllowed, whyNotDenied } from '@zerolatency/policy';
import type { KeptBundle } from './bundles.ts';
import type { LedgerRecord, RecordBodies } from './record.ts';

type PolicyChanged = RecordBodies['policy.changed'];

interface InForce {
  readonly body: PolicyChanged;
  readonly bundle: KeptBundle | undefined;
  /** When the next policy replaced it; infinite for the last. */
  untilMs: number;
}

/** What the records of a call say about its decision. */
export interface RecordedDecision {
  readonly tool: string;
  readonly tenant: string;
  readonly user: string;
  readonly deviceId?: string | undefined;
  readonly policyId?: string | undefined;
  readonly policyDigest?: string | undefined;
}

/** Bundles kept from this version of records on. */
const KEPT_FROM_VERSION = 2;

/** A call is sent this long after its own deadline at the latest. */
const GRACE_MS = 2_000;

/** The policies of one run of a host, and whether they can have decided as recorded. */
export class PolicyHistory {
  #inForce: InForce[] = [];
  readonly #notKept = new Set<string>();
  #decisions = 0;

  /** Digests of bundles that are not beside the ledger, although they should be. */
  get notKept(): ReadonlySet<string> {
    return this.#notKept;
  }

  /** How many decisions were made again with a kept bundle. */
  get decisions(): number {
    return this.#decisions;
  }

  hostStarted(): void {
    this.#inForce = [];
  }

  /** The bundle is the one that was kept under the digest in the record. */
  changed(
    body: PolicyChanged,
    { at, v }: Pick<LedgerRecord, 'at' | 'v'>,
    bundle: KeptBundle | undefined,
  ): string | undefined {
    const { policyDigest: digest, state } = body;
    if ((state === 'none') !== (digest === undefined)) return 'names a bundle, or none, wrongly';
    if (bundle?.state === 'altered') return `names bundle ${digest}, whose copy ${bundle.why}`;
    if (bundle?.state === 'missing' && v >= KEPT_FROM_VERSION) this.#notKept.add(`${digest}`);
    const name = bundle?.state === 'kept' && `${bundle.content.id}@${bundle.content.version}`;
    if (name && (name !== body.policyId || bundle.content.version !== body.version)) {
      return `names bundle ${body.policyId}, and its digest ${name}`;
    }
    const last = this.#inForce.at(-1);
    if (last !== undefined) last.untilMs = Date.parse(at);
    this.#inForce.push({ body, bundle, untilMs: Number.POSITIVE_INFINITY });
    return undefined;
  }

  /** A denial is recorded at once, so the last policy made it. */
  faultInDenial(
    decision: RecordedDecision & { readonly ruleId: string | null },
    atMs: number,
  ): string | undefined {
    const last = this.#inForce.at(-1);
    if (last === undefined || !isOf(decision, last)) return notInForce(decision);
    const { bundle } = last;
    if (bundle?.state !== 'kept' || decision.ruleId === null) return undefined;
    this.#decisions++;
    const call = { ...recorded(decision), version: undefined, fromMs: atMs, toMs: atMs };
    const why = whyNotDenied(bundle.content, call, decision.ruleId);
    return why && `was not denied by ${decision.policyId}: ${why}`;
  }

  /** Recorded as it is decided, like a denial. */
  faultInWithheld(withheld: RecordBodies['policy.withheld'], atMs: number): string | undefined {
    for (const { tool, ruleId } of withheld.tools) {
      const fault = this.faultInDenial({ ...withheld, tool, ruleId }, atMs);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  /** A call is decided within its time limit before its record. */
  faultInAllowed(
    decision: RecordedDecision & { readonly toolVersion?: string | undefined; readonly caps: Caps },
    atMs: number,
  ): string | undefined {
    const { caps, toolVersion: version = '' } = decision;
    const fromMs = atMs - (caps.timeoutMs ?? Number.POSITIVE_INFINITY) - GRACE_MS;
    const then = this.#inForceAfter(fromMs).filter((one) => isOf(decision, one));
    if (then.length === 0) return notInForce(decision);
    const times = { fromMs: Number.isFinite(fromMs) ? fromMs : atMs, toMs: atMs };
    const call = { ...recorded(decision), version, ...times };
    const reasons = then.map(({ body: { state }, bundle }) => {
      if (state === 'expired') return 'it had expired';
      if (state === 'none') return 'there was none';
      if (bundle?.state !== 'kept') return undefined;
      return whyNotAllowed(bundle.content, call, { caps, isStale: state === 'stale' });
    });
    if (then.some(({ bundle }) => bundle?.state === 'kept')) this.#decisions++;
    const isPossible = reasons.includes(undefined);
    return isPossible
      ? undefined
      : `was not allowed by ${decision.policyId ?? 'a bundle'}: ${reasons[0]}`;
  }

  /** For a call that ended before it was allowed or denied. */
  faultInName(decision: RecordedDecision, sinceMs: number): string | undefined {
    const isKnown = this.#inForceAfter(sinceMs - GRACE_MS).some((one) => isOf(decision, one));
    return isKnown ? undefined : notInForce(decision);
  }

  #inForceAfter(fromMs: number): InForce[] {
    return this.#inForce.filter(({ untilMs }) => untilMs >= fromMs);
  }
}

function isOf({ policyId, policyDigest }: RecordedDecision, { body }: InForce): boolean {
  return body.policyDigest === policyDigest && body.policyId === policyId;
}

function notInForce({ policyId = 'none' }: RecordedDecision): string {
  return `names policy ${policyId}, which was not in force`;
}

function recorded({ tool, tenant, user, deviceId }: RecordedDecision) {
  return { tool, tenant, user, deviceId };
}
