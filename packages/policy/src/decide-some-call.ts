import type { Bundle, BundleState } from './bundle.ts';
import { type Decision, decide, type PolicyRequest, unavailable } from './decide.ts';

type Held =
  | Extract<BundleState, { state: 'none' }>
  | Pick<Exclude<BundleState, { state: 'none' }>, 'state' | 'content'>;

/** Each bundle without its rules about arguments. */
const withoutArguments = new WeakMap<Bundle, Bundle>();

/** Allows when the policy could allow some call of the tool. */
export function decideSomeCall(held: Held, request: Omit<PolicyRequest, 'arguments'>): Decision {
  if (held.state === 'none') return unavailable('there is no policy bundle');
  const bundle = regardlessOfArguments(held.content);
  return decide(bundle, { ...request, arguments: {} }, held.state);
}

/** A rule about arguments decides single calls, not the tool. */
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
