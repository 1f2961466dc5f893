import { satisfies, valid } from 'semver';
import type { Rule } from './bundle.ts';
import { matchesGlob } from './glob.ts';
import { withinHours } from './hours.ts';
import { type Match, pathWithin } from './path-scope.ts';
import type { PolicyRequest } from './request.ts';

/** One thing a rule may ask of a call. */
export interface Constraint {
  readonly name: keyof Rule;
  /** What the rule asks; undefined when it does not ask. */
  wanted(rule: Rule): unknown;
  /** What the call has of it, to be shown to a person. */
  found(rule: Rule, request: PolicyRequest): unknown;
  match(rule: Rule, request: PolicyRequest): Match;
}

/** In the order of what they cost. */
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
      return yesIf(satisfies(version, range, { includePrerelease: effect === 'deny' }));
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
];

/** Whether the rule applies. Doubt makes a deny apply and an allow not. */
export function applies(rule: Rule, request: PolicyRequest): boolean {
  return constraints.every((constraint) => holds(constraint, rule, request));
}

export function holds(constraint: Constraint, rule: Rule, request: PolicyRequest): boolean {
  if (constraint.wanted(rule) === undefined) return true;
  const match = constraint.match(rule, request);
  return rule.effect === 'deny' ? match !== 'no' : match === 'yes';
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
  // What a prototype has is no argument.
  return Object.getOwnPropertyDescriptor(values, name)?.value;
}

function yesIf(condition: boolean): Match {
  return condition ? 'yes' : 'no';
}
