import { type Bundle, type BundleState, decide, type PolicyRequest } from '@zerolatency/policy';

const withoutArguments = new WeakMap<Bundle, Bundle>();

/** Whether the policy would allow some call of the tool. A model is not told of the others. */
export function mayBeAllowed(
  held: BundleState,
  request: Omit<PolicyRequest, 'arguments'>,
): boolean {
  if (held.state === 'none' || held.state === 'expired') return false;
  const bundle = regardlessOfArguments(held.bundle);
  const inGrace = held.state === 'stale';
  return decide(bundle, { ...request, arguments: {} }, { inGrace }).effect === 'allow';
}

/** What a rule says about arguments decides on single calls, not on the tool. */
function regardlessOfArguments(bundle: Bundle): Bundle {
  const known = withoutArguments.get(bundle);
  if (known !== undefined) return known;
  const rules = bundle.rules
    .filter((rule) => rule.effect === 'allow' || rule.paths === undefined)
    .map(({ paths: _, ...rule }) => rule);
  const loosened = { ...bundle, rules };
  withoutArguments.set(bundle, loosened);
  return loosened;
}
