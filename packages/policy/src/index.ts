export {
  type Bundle,
  type Caps,
  type Day,
  type Hours,
  type Paths,
  policyId,
  type Rule,
} from './bundle.ts';
export { type BundleFigures, bundleFigures } from './bundle-figures.ts';
export {
  BundleHolder,
  type BundleHolderOptions,
  type BundleState,
  type HeldDecision,
  type Offer,
} from './bundle-holder.ts';
export { BundleRefused, type RefusalReason, refusalReasons } from './bundle-refused.ts';
export { checkBundle } from './check-bundle.ts';
export { checkManifest } from './check-manifest.ts';
export { decide, tighter } from './decide.ts';
export { type BundleDiff, diffBundles, type FieldChange, type RuleChange } from './diff-bundles.ts';
export { type Explanation, explain, type Reason, type RuleExplanation } from './explain.ts';
export { type Floor, type FloorPort, memoryFloor } from './floor.ts';
export { openFloorFile } from './floor-file.ts';
export { pemFiles } from './key-files.ts';
export { type LintName, type LintWarning, lintBundle } from './lint-bundle.ts';
export type { Manifest, ManifestFile, ManifestLimits, ManifestServer } from './manifest.ts';
export type { Allow, Decision, Deny, PolicyRequest } from './request.ts';
export { BUNDLE_PAYLOAD_TYPE, signBundle } from './sign-bundle.ts';
export { MANIFEST_PAYLOAD_TYPE, signManifest } from './sign-manifest.ts';
export { ageOf, type VerifiedBundle, verifyBundle } from './verify-bundle.ts';
export { readManifest, type VerifiedManifest, verifyManifest } from './verify-manifest.ts';
export { isVouchedFor } from './vouched-for.ts';
export {
  type BundleObserver,
  type BundleWatch,
  type PolicyLog,
  type WatchBundleOptions,
  watchBundle,
} from './watch-bundle.ts';
