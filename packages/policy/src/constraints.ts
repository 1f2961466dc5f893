import { satisfies, valid } from 'semver';
import type { Rule } from './bundle.ts';
import type { PolicyRequest } from './decide.ts';
import { withinHours } from './hours.ts';
import { type Match, pathWithin } from './path-scope.ts';

/** One condition that a rule may set on a call. */
export interface Constraint {
  readonly name: keyof Rule;
  /** What the rule asks for; undefined when it does not have the condition. */
  wanted(rule: Rule): unknown;
  /** What the call has, to be shown to a person. */
  found(rule: Rule, request: PolicyRequest): unknown;
  match(rule: Rule, request: PolicyRequest): Match;
}

/** Cheapest first. */
export const constraints: readonly Constraint[] = [
  constraint('tools', {
    found: (_, { tool }) => tool,
    match: (globs, { tool }) => yesIf(globs.some((glob) => matchesGlob(glob, tool))),
  }),
  constraint('tenants', {
    found: (_, { tenant }) => tenant,
    match: (tenants, { tenant }) => yesIf(tenants.includes(tenant)),
  }),
  constraint('users', {
    found: (_, { user }) => user,
    match: (users, { user }) => yesIf(users.includes(user)),
  }),
  constraint('roles', {
    found: (_, { roles }) => roles,
    match: (wanted, { roles }) => yesIf(roles.some((role) => wanted.includes(role))),
  }),
  constraint('devices', {
    found: (_, { deviceId }) => deviceId,
    match: (devices, { deviceId }) => yesIf(devices.includes(deviceId)),
  }),
  constraint('versions', {
    found: (_, { version }) => version,
    match: (range, { version }, effect) => {
      if (valid(version) === null) return 'unclear';
      // A pre-release must not slip past a deny of what surrounds it.
      return yesIf(satisfies(version, range, { includePrerelease: effect !== 'allow' }));
    },
  }),
  constraint('hours', {
    found: (_, { nowMs }) => new Date(nowMs).toJSON(),
    match: (hours, { nowMs }) => withinHours(hours, nowMs),
  }),
  constraint('paths', {
    found: ({ argument }, request) => argumentOf(request, argument),
    match: ({ argument, within }, request, effect) => {
      const path = argumentOf(request, argument);
      return path === undefined ? 'no' : pathWithin(path, within, effect);
    },
  }),
  // Reserved for a later version, so nobody can tell whether the condition holds.
  constraint('when', { found: () => undefined, match: () => 'unclear' }),
  // No executor can enforce it yet, so the hosts that the tool will reach are unknown.
  constraint('egress', { found: () => undefined, match: () => 'unclear' }),
];

/** Whether the rule applies. Doubt makes deny and escalate rules apply, and allow rules not. */
export function applies(rule: Rule, request: PolicyRequest): boolean {
  return constraints.every((constraint) => holds(constraint, rule, request));
}

export function holds(constraint: Constraint, rule: Rule, request: PolicyRequest): boolean {
  if (constraint.wanted(rule) === undefined) return true;
  const match = constraint.match(rule, request);
  return rule.effect === 'allow' ? match === 'yes' : match !== 'no';
}

interface Definition<K extends keyof Rule> {
  found(wanted: NonNullable<Rule[K]>, request: PolicyRequest): unknown;
  match(wanted: NonNullable<Rule[K]>, request: PolicyRequest, effect: Rule['effect']): Match;
}

function constraint<K extends keyof Rule>(name: K, definition: Definition<K>): Constraint {
  return {
    name,
    wanted: (rule) => rule[name],
    found: (rule, request) => {
      const wanted = rule[name];
      return wanted === undefined ? undefined : definition.found(wanted, request);
    },
    match: (rule, request) => {
      const wanted = rule[name];
      return wanted === undefined ? 'yes' : definition.match(wanted, request, rule.effect);
    },
  };
}

function argumentOf(request: PolicyRequest, name: string): unknown {
  const values = request.arguments;
  if (typeof values !== 'object' || values === null) return undefined;
  // A property of the prototype is not an argument.
  return Object.getOwnPropertyDescriptor(values, name)?.value;
}

function yesIf(condition: boolean): Match {
  return condition ? 'yes' : 'no';
}

/**
 * Matches a pattern in which * stands for any run of characters. The leftmost
 * place for each part is the right one, as there are no other wildcards, so it
 * never backtracks over more than one star.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return text === pattern;
  const tail = rest.pop() ?? '';
  if (text.length < head.length + tail.length) return false;
  if (!text.startsWith(head) || !text.endsWith(tail)) return false;
  const end = text.length - tail.length;
  let from = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, from);
    if (found === -1 || found + part.length > end) return false;
    from = found + part.length;
  }
  return true;
}
