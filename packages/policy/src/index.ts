export { type Bundle, type Caps, POLICY_BUNDLE, type Rule } from './bundle.ts';
export {
  type BundleFigures,
  BundleHolder,
  type BundleState,
  bundleFigures,
  type HeldDecision,
} from './bundle-holder.ts';
export { applies, type Constraint, constraints, holds, matchesGlob } from './constraints.ts';
export {
  type Allow,
  type Decision,
  type Deny,
  decide,
  type Escalate,
  type PolicyRequest,
  tighter,
} from './decide.ts';
export { parseAbsolutePath } from './path-scope.ts';
