import fc from 'fast-check';
import type { Bundle, Caps, Rule } from '../src/bundle.ts';
import type { PolicyRequest } from '../src/decide.ts';
import { NOW, sampleBundle } from './sample-bundle.ts';

// Few names, so that rules and requests meet often.
const tool = fc.constantFrom('fs.read', 'fs.write', 'web.get');
const glob = fc.constantFrom('*', 'fs.*', '*.read', 'fs.read', 'web.get', 'x.y');
const tenant = fc.constantFrom('north', 'south');
const user = fc.constantFrom('user-1', 'user-2');
const role = fc.constantFrom('user', 'admin');
const device = fc.constantFrom('laptop', 'phone');
const path = fc.constantFrom('/data/a', '/data/b/c', '/etc/passwd', '/data/../etc', 'a', '/DATA/a');
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const some = <T>(value: fc.Arbitrary<T>) => fc.uniqueArray(value, { minLength: 1, maxLength: 2 });

const caps: fc.Arbitrary<Caps> = fc
  .record(
    {
      timeoutMs: fc.integer({ min: 1, max: 9 }),
      maxBytes: fc.integer({ min: 1, max: 9 }),
      callsPerTurn: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  )
  .filter((some) => Object.keys(some).length > 0);

const hours = fc.record({
  from: fc.constantFrom('00:00', '09:00', '22:00'),
  to: fc.constantFrom('06:00', '13:00', '23:59'),
});

/** Rules with it are undecidable, so most have none. */
const when = rarely(fc.constant({ language: 'cedar' as const, source: 'true' }));

function rarely<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: value },
  );
}

const constraints = {
  when,
  versions: optional(fc.constantFrom('^1.0.0', '>=2', '<1.5.0')),
  tenants: optional(some(tenant)),
  roles: optional(some(role)),
  users: optional(some(user)),
  devices: optional(some(device)),
  hasEffects: rarely(fc.boolean()),
  inSandbox: rarely(fc.boolean()),
  hours: optional(hours),
  paths: optional(
    fc.record({ argument: fc.constant('path'), within: some(fc.constantFrom('/data', '/etc')) }),
  ),
};

const allowing = fc.record({
  id: fc.uuid(),
  effect: fc.constant('allow' as const),
  tools: some(glob),
  caps: optional(caps),
  duringGrace: optional(fc.boolean()),
  egress: rarely(fc.constant(['example.com'])),
  ...constraints,
});

export const denyRule: fc.Arbitrary<Rule> = fc
  .record({
    id: fc.uuid(),
    effect: fc.constant('deny' as const),
    tools: some(glob),
    ...constraints,
  })
  .map(withoutUndefined);

export const escalateRule: fc.Arbitrary<Rule> = fc
  .record({
    id: fc.uuid(),
    effect: fc.constant('escalate' as const),
    tools: some(glob),
    approvers: fc.record({ roles: some(role) }),
    caps: optional(caps),
    ...constraints,
  })
  .map(withoutUndefined);

export const allowRule: fc.Arbitrary<Rule> = allowing.map(withoutUndefined);

export const rules: fc.Arbitrary<readonly Rule[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: allowRule },
    { weight: 2, arbitrary: denyRule },
    { weight: 1, arbitrary: escalateRule },
  ),
  { maxLength: 6 },
);

export function bundleOf(some: readonly Rule[]): Bundle {
  return sampleBundle({ schema: 'zerolatency.policy/v2', rules: some });
}

const opened = fc.record({
  files: fc.array(
    fc.record({
      argument: fc.constantFrom('path', 'to'),
      path,
      links: fc.integer({ min: 1, max: 2 }),
    }),
    { maxLength: 2 },
  ),
  realFolders: fc.constantFrom(new Map(), new Map([['/etc', '/data/b']])),
});

export const request: fc.Arbitrary<PolicyRequest> = fc.record({
  tool,
  version: fc.constantFrom('1.0.0', '1.6.0-beta.1', '2.3.4', ''),
  arguments: fc.oneof(
    fc.record({ path }, { requiredKeys: [] }),
    fc.record({ path: fc.constantFrom(null, 7, ['/data/a']) }),
    fc.constantFrom(null, 'text', []),
  ),
  tenant,
  user,
  roles: fc.uniqueArray(role, { maxLength: 2 }),
  deviceId: device,
  nowMs: fc.integer({ min: NOW - 10 ** 8, max: NOW + 10 ** 8 }),
  callsThisTurn: fc.nat(3),
  pathBases: optional(fc.constant(new Map([['path', '/data']]))),
  hasEffects: optional(fc.boolean()),
  inSandbox: optional(fc.boolean()),
  opened: rarely(opened),
});

/** As the rule would come out of JSON. */
function withoutUndefined(rule: Record<keyof Rule, unknown> | object): Rule {
  return JSON.parse(JSON.stringify(rule));
}
