import {
  type BundleState,
  bundleFigures,
  type RefusalReason,
  refusalReasons,
} from '@zerolatency/policy';
import { childBy, gaugeFrom, metric, type Registry } from '@zerolatency/service/telemetry';

export function bundleRefusals(registry: Registry): (reason: RefusalReason) => void {
  const refused = metric(registry, 'zl_policy_bundles_refused_total');
  const ofReason = childBy((reason: RefusalReason) => refused.labels({ reason }));
  // A rate sees the first refusal only where there was a zero before it.
  for (const reason of refusalReasons) ofReason(reason).inc(0);
  return (reason) => ofReason(reason).inc();
}

export function exposeBundle(registry: Registry, current: (nowMs: number) => BundleState): void {
  const figures = () => bundleFigures(current(Date.now()), Date.now());
  gaugeFrom(registry, 'zl_policy_bundle_version', () => figures().version);
  gaugeFrom(registry, 'zl_policy_bundle_age_seconds', () => figures().ageSeconds);
  gaugeFrom(registry, 'zl_policy_bundle_expires_seconds', () => figures().expiresSeconds);
}
