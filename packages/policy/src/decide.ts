import type { ErrorId } from '@zerolatency/errors';
import { documentName } from '@zerolatency/signing';
import { satisfies, valid } from 'semver';
import type { Bundle, BundleState, Caps, Rule } from './bundle.ts';
import { withinHours } from './hours.ts';
import { type Match, pathWithin, startingAt } from './path-scope.ts';

/** One tool call, and who asks according to verified credentials. */
export interface PolicyRequest {
  /** Server and tool, such as fs.read. */
  readonly tool: string;
  /** The version that the tool's MCP server reports; empty when it reports none. */
  readonly version: string;
  readonly arguments: unknown;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly string[];
  readonly deviceId: string;
  readonly nowMs: number;
  /** Earlier calls of the same tool in this turn. A device sees no turns and passes 0. */
  readonly callsThisTurn: number;
  /** Where relative paths start, by argument, as far as the tool's contract and the device say. */
  readonly pathBases?: ReadonlyMap<string, string> | undefined;
  /** Whether the tool can change something; undefined when nobody says. */
  readonly hasEffects?: boolean | undefined;
  /** Whether its server runs in a sandbox; undefined when nobody says. */
  readonly inSandbox?: boolean | undefined;
  /** Only once the server has opened files, before its result is released. */
  readonly opened?: Opened | undefined;
}

/** A file that a server opened for an argument. */
export interface OpenedFile {
  readonly argument: string;
  /** Without links, from the descriptor. */
  readonly path: string;
  /** How many names the file has; only one of them is known. */
  readonly links: number;
}

export interface Opened {
  readonly files: readonly OpenedFile[];
  /** Where the folders that rules name really are, for those that are or lie behind links. */
  readonly realFolders: ReadonlyMap<string, string>;
}

export interface Allow {
  readonly effect: 'allow';
  /** The first rule of the bundle that allows it. */
  readonly ruleId: string;
  /** The lowest of each cap among all rules that allow it. */
  readonly caps: Caps;
}

export interface Deny {
  readonly effect: 'deny';
  /** Null when no single rule decided. */
  readonly ruleId: string | null;
  readonly reason: string;
  readonly errorId: Extract<ErrorId, 'policy.denied' | 'policy.unavailable'>;
}

/** A person has to approve the call. Whoever cannot ask for an approval denies it, for the reason given. */
export interface Escalate {
  readonly effect: 'escalate';
  /** The first rule of the bundle that escalates it. */
  readonly ruleId: string;
  readonly approvers: NonNullable<Rule['approvers']>;
  readonly reason: string;
  readonly errorId: 'policy.denied';
}

export type Decision = Allow | Deny | Escalate;

/** Stale: only rules marked duringGrace allow. Expired: every tool is denied. */
type BundleAge = 'active' | 'stale' | 'expired';

/**
 * Denies unless a rule allows; deny wins over escalate, and escalate over
 * allow. A pure function: the order of rules changes only the id reported.
 */
export function decide(
  bundle: Bundle,
  request: PolicyRequest,
  age: BundleAge = 'active',
): Decision {
  const decision = decideAsAsked(bundle, request, age);
  if (decision.effect !== 'deny' || request.inSandbox === true) return decision;
  if (bundle.rules.every((rule) => rule.inSandbox === undefined)) return decision;
  const { effect } = decideAsAsked(bundle, { ...request, inSandbox: true }, age);
  return effect === 'allow' ? { ...decision, reason: `${decision.reason} ${OUTSIDE}` } : decision;
}

const OUTSIDE =
  'outside a sandbox: its device needs bubblewrap, and a manifest/v3 without "sandbox": "none"';

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

function decideAsAsked(bundle: Bundle, request: PolicyRequest, age: BundleAge): Decision {
  if (age === 'expired') {
    return unavailable(`policy bundle ${documentName(bundle)} expired at ${bundle.expiresAt}`);
  }
  const inGrace = age === 'stale';
  const { tenant, deviceId } = request;
  if (bundle.revokedDevices?.some((it) => it.tenant === tenant && it.device === deviceId)) {
    return deny(null, `device ${deviceId} is revoked`);
  }
  const applying = bundle.rules.filter((rule) => applies(rule, request));
  const denying = applying.find((rule) => rule.effect === 'deny');
  const what = request.opened === undefined ? 'it' : 'the file that was opened';
  if (denying !== undefined) return deny(denying.id, `rule ${denying.id} denies ${what}`);
  const escalating = applying.find((rule) => rule.effect === 'escalate');
  if (escalating !== undefined) return escalate(escalating);
  const allowing = applying.filter((rule) => !inGrace || rule.duringGrace === true);
  const first = allowing[0];
  if (first === undefined) {
    const when = inGrace ? ' while the bundle is past its expiry' : '';
    return deny(null, `no rule allows ${what}${when}`);
  }
  const caps = tightest(allowing);
  const perTurn = caps.callsPerTurn;
  if (perTurn !== undefined && !(request.callsThisTurn < perTurn)) {
    const capping = allowing.find((rule) => rule.caps?.callsPerTurn === perTurn) ?? first;
    const calls = perTurn === 1 ? '1 call' : `${perTurn} calls`;
    return deny(capping.id, `rule ${capping.id} allows ${calls} of the tool per turn`);
  }
  return { effect: 'allow', ruleId: first.id, caps };
}

function tightest(rules: readonly Rule[]): Caps {
  return rules.reduce<Caps>((caps, { caps: others = {} }) => tighter(caps, others), {});
}

/** The lower of each cap; a cap that only one of them sets holds. */
export function tighter(a: Caps, b: Caps): Caps {
  return {
    ...lower('timeoutMs', a, b),
    ...lower('maxBytes', a, b),
    ...lower('callsPerTurn', a, b),
  };
}

function lower(cap: keyof Caps, a: Caps, b: Caps): Caps {
  const value = Math.min(a[cap] ?? Number.POSITIVE_INFINITY, b[cap] ?? Number.POSITIVE_INFINITY);
  return value === Number.POSITIVE_INFINITY ? {} : { [cap]: value };
}

function deny(ruleId: string | null, reason: string): Deny {
  return { effect: 'deny', ruleId, reason, errorId: 'policy.denied' };
}

export function unavailable(reason: string): Deny {
  return { effect: 'deny', ruleId: null, reason, errorId: 'policy.unavailable' };
}

function escalate({ id, approvers = {} }: Rule): Escalate {
  const reason = `rule ${id} needs an approval, which this version cannot ask for`;
  return { effect: 'escalate', ruleId: id, approvers, reason, errorId: 'policy.denied' };
}

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
  constraint('hasEffects', {
    found: (_, { hasEffects }) => hasEffects,
    match: (wanted, { hasEffects }) => equal(wanted, hasEffects),
  }),
  constraint('inSandbox', {
    found: (_, { inSandbox }) => inSandbox,
    match: (wanted, { inSandbox }) => equal(wanted, inSandbox),
  }),
  constraint('hours', {
    found: (_, { nowMs }) => new Date(nowMs).toJSON(),
    match: (hours, { nowMs }) => withinHours(hours, nowMs),
  }),
  constraint('paths', {
    found: ({ argument }, request) => {
      const asked = argumentOf(request, argument);
      const opened = openedFor(request, argument);
      return opened.length === 0 ? asked : { asked, opened };
    },
    match: ({ argument, within }, request, effect) => {
      const base = request.pathBases?.get(argument);
      const asked = argumentOf(request, argument);
      const path = base === undefined ? asked : startingAt(base, asked);
      const real = within.flatMap((folder) => request.opened?.realFolders.get(folder) ?? []);
      const opened = openedFor(request, argument).map((file) =>
        openedWithin(file, [...within, ...real], effect),
      );
      return gravest([pathWithin(path, within, effect), ...opened], effect);
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

function openedFor(request: PolicyRequest, argument: string): readonly OpenedFile[] {
  return request.opened?.files.filter((file) => file.argument === argument) ?? [];
}

/** Another name of the file may be in any folder. */
function openedWithin(
  { path, links }: OpenedFile,
  folders: readonly string[],
  effect: Rule['effect'],
): Match {
  const match = pathWithin(path, folders, effect);
  return links === 1 || (effect !== 'allow' && match === 'yes') ? match : 'unclear';
}

const MATCHES: readonly Match[] = ['no', 'unclear', 'yes'];

/** The match that counts most against the call. */
function gravest(matches: readonly Match[], effect: Rule['effect']): Match {
  const order = effect === 'allow' ? MATCHES : MATCHES.toReversed();
  return order.find((match) => matches.includes(match)) ?? 'unclear';
}

/** The first rule that denies the tool to everyone unless its server runs in a sandbox. */
export function sandboxDemand(
  { rules }: Bundle,
  { tool, hasEffects }: Required<Pick<PolicyRequest, 'tool' | 'hasEffects'>>,
): Rule | undefined {
  return rules.find((rule) => {
    const { id, effect, description: _, tools, inSandbox, hasEffects: asked, ...others } = rule;
    const isDemand = effect === 'deny' && inSandbox === false && Object.keys(others).length === 0;
    const concerns = asked === undefined || asked === hasEffects;
    return isDemand && concerns && tools.some((glob) => matchesGlob(glob, tool));
  });
}

/** The folders by which the rules for a tool restrict paths. */
export function restrictedFolders(bundle: Bundle, tool: string): readonly string[] {
  return bundle.rules.flatMap(({ tools, paths }) => {
    const concerns = paths !== undefined && tools.some((glob) => matchesGlob(glob, tool));
    return concerns ? paths.within : [];
  });
}

function equal(wanted: boolean, known: boolean | undefined): Match {
  return known === undefined ? 'unclear' : yesIf(known === wanted);
}

function yesIf(condition: boolean): Match {
  return condition ? 'yes' : 'no';
}

/**
 * Matches a pattern in which * stands for any run of characters. With no other
 * wildcard the leftmost place for each part suffices, so nothing backtracks.
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
