import {
  DocumentHolder,
  type DocumentHolderOptions,
  type DocumentState,
} from '@zerolatency/signing';
import { type Bundle, POLICY_BUNDLE } from './bundle.ts';
import { type Decision, decide, type PolicyRequest, unavailable } from './decide.ts';

export type BundleState = DocumentState<Bundle>;

/** Both are empty where there is no bundle. */
export type HeldDecision = Decision & { readonly policyId: string; readonly policyDigest: string };

/** Decides by the bundle in force. Without one every tool is denied, and chat continues. */
export class BundleHolder extends DocumentHolder<Bundle> {
  constructor(options: DocumentHolderOptions) {
    super(POLICY_BUNDLE, options);
  }

  decide(request: PolicyRequest): HeldDecision {
    const current = this.note(request.nowMs);
    if (current.state === 'none') {
      return { ...unavailable('there is no policy bundle'), policyId: '', policyDigest: '' };
    }
    const { state, content, name: policyId, digest: policyDigest } = current;
    return { ...decide(content, request, state), policyId, policyDigest };
  }
}

export interface BundleFigures {
  /** Versions begin at 1; 0 where there is no bundle. */
  readonly version: number;
  /** NaN where there is no bundle. */
  readonly ageSeconds: number;
  /** Negative once expired; 0 where there is no bundle, so that an alert on little time left fires too. */
  readonly expiresSeconds: number;
}

/** What gauges report about the bundle in force. */
export function bundleFigures(held: BundleState, nowMs: number): BundleFigures {
  if (held.state === 'none') return { version: 0, ageSeconds: Number.NaN, expiresSeconds: 0 };
  const { version, issuedAt } = held.content;
  return {
    version,
    ageSeconds: (nowMs - Date.parse(issuedAt)) / 1000,
    expiresSeconds: (held.expiresAtMs - nowMs) / 1000,
  };
}
