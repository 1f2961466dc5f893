export {
  type Bundle,
  type BundleFigures,
  BundleHolder,
  type BundleState,
  bundleFigures,
  type Caps,
  type HeldDecision,
  POLICY_BUNDLE,
  type Rule,
} from './bundle.ts';
export {
  type Allow,
  applies,
  type Constraint,
  constraints,
  type Decision,
  type Deny,
  decide,
  decideSomeCall,
  type Escalate,
  holds,
  matchesGlob,
  type Opened,
  type OpenedFile,
  type PolicyRequest,
  sandboxDemand,
  tighter,
} from './decide.ts';
export { parseAbsolutePath, pathWithin } from './path-scope.ts';
export { type RecordedCall, whyNotAllowed, whyNotDenied } from './recorded-call.ts';
