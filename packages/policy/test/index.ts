export { allowRule, bundleOf, denyRule, escalateRule, request, rules } from './arbitrary-bundle.ts';
export {
  allow,
  currentBundle,
  DAY_MS,
  deny,
  escalate,
  NOW,
  nameOfState,
  policyKey,
  sampleBundle,
  sampleRequest,
  signed,
} from './sample-bundle.ts';
