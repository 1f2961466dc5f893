import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDocument } from '@zerolatency/signing';
import fc from 'fast-check';
import {
  allow,
  allowRule,
  bundleOf,
  deny,
  denyRule,
  escalate,
  escalateRule,
  request,
  rules,
  sampleBundle,
  sampleRequest,
} from '../test/index.ts';
import { type Caps, POLICY_BUNDLE, type Rule } from './bundle.ts';
import { applies, type Decision, decide, type OpenedFile, tighter } from './decide.ts';

const CAPS = ['timeoutMs', 'maxBytes', 'callsPerTurn'] as const;

function isAllowed(decision: Decision): boolean {
  return decision.effect === 'allow';
}

/** Whether the caps of a leave no room that those of b do not leave. */
function isAsTight(a: Caps, b: Caps): boolean {
  const at = (caps: Caps, cap: (typeof CAPS)[number]) => caps[cap] ?? Number.POSITIVE_INFINITY;
  return CAPS.every((cap) => at(a, cap) <= at(b, cap));
}

function isAsNarrow(a: Decision, b: Decision): boolean {
  if (a.effect === 'deny') return true;
  if (a.effect === 'escalate') return b.effect !== 'deny';
  return b.effect === 'allow' && isAsTight(a.caps, b.caps);
}

test('[POL-01] a call that no rule allows is denied, and an empty bundle allows nothing', () => {
  fc.assert(
    fc.property(request, fc.array(denyRule), (asked, denying) => {
      const decision = decide(bundleOf(denying), asked);
      assert.equal(decision.effect, 'deny');
    }),
  );
  const decision = decide(bundleOf([]), sampleRequest());
  assert.deepEqual(decision, {
    effect: 'deny',
    ruleId: null,
    reason: 'no rule allows it',
    errorId: 'policy.denied',
  });
});

test('[POL-01] a deny rule that applies wins wherever it stands', () => {
  fc.assert(
    fc.property(rules, denyRule, request, fc.nat(6), (some, denying, asked, place) => {
      fc.pre(applies(denying, asked));
      const all = [...some.slice(0, place), denying, ...some.slice(place)];
      assert.equal(decide(bundleOf(all), asked).effect, 'deny');
    }),
  );
});

test('[POL-01] an escalate rule that applies wins over any allow, and loses to any deny', () => {
  fc.assert(
    fc.property(rules, escalateRule, request, fc.nat(6), (some, asking, asked, place) => {
      fc.pre(applies(asking, asked));
      const all = [...some.slice(0, place), asking, ...some.slice(place)];
      const isDenied = some.some((rule) => rule.effect === 'deny' && applies(rule, asked));
      for (const age of ['active', 'stale'] as const) {
        const { effect } = decide(bundleOf(all), asked, age);
        assert.equal(effect, isDenied ? 'deny' : 'escalate');
      }
    }),
  );
});

test('[POL-01] one more escalate rule never widens what is allowed', () => {
  fc.assert(
    fc.property(rules, escalateRule, request, (some, asking, asked) => {
      const before = decide(bundleOf(some), asked);
      const after = decide(bundleOf([...some, asking]), asked);
      assert.equal(isAllowed(after) && !isAllowed(before), false);
      if (isAllowed(after)) assert.deepEqual(after, before);
    }),
  );
});

test('an escalation names its rule and its approvers, and denies where none can be asked', () => {
  assert.deepEqual(decide(sampleBundle({ rules: [allow(), escalate()] }), sampleRequest()), {
    effect: 'escalate',
    ruleId: 'ask',
    approvers: { roles: ['owner'] },
    reason: 'rule ask needs an approval, which this version cannot ask for',
    errorId: 'policy.denied',
  });
});

test('[POL-01] a condition that cannot be evaluated allows nothing and lets nothing through', () => {
  const when = { language: 'cedar', source: 'permit(principal, action, resource);' } as const;
  const effectOf = (...some: Parameters<typeof bundleOf>[0]) =>
    decide(bundleOf(some), sampleRequest()).effect;
  assert.equal(effectOf(allow({ when })), 'deny');
  assert.equal(effectOf(allow(), deny({ when })), 'deny');
  assert.equal(effectOf(allow(), escalate({ when })), 'escalate');
  assert.equal(effectOf(allow(), deny({ when, tools: ['web.get'] })), 'allow');
});

test('[POL-01] an allow rule with egress applies nowhere, because no executor enforces it', () => {
  const rules = [allow({ egress: ['example.com'] })];
  assert.equal(decide(sampleBundle({ rules }), sampleRequest()).effect, 'deny');
  const asking = [allow(), escalate({ egress: ['example.com'] })];
  assert.equal(decide(sampleBundle({ rules: asking }), sampleRequest()).effect, 'escalate');
});

test('[POL-01] a revoked device is denied, whatever the rules say', () => {
  const revokedDevices = [{ tenant: 'north', device: 'laptop' }];
  const bundle = sampleBundle({ rules: [allow(), escalate()], revokedDevices });
  const decision = decide(bundle, sampleRequest());
  assert.ok(decision.effect === 'deny' && decision.errorId === 'policy.denied');
  assert.match(decision.reason, /device laptop is revoked/);
  const others = sampleBundle({ revokedDevices });
  assert.ok(isAllowed(decide(others, sampleRequest({ deviceId: 'phone' }))));
  assert.ok(isAllowed(decide(others, sampleRequest({ tenant: 'south' }))));
});

test('[POL-01] one more deny rule never widens what is allowed', () => {
  fc.assert(
    fc.property(rules, denyRule, request, (some, denying, asked) => {
      const before = decide(bundleOf(some), asked);
      assert.ok(isAsNarrow(decide(bundleOf([...some, denying]), asked), before));
    }),
  );
});

test('[POL-01] removing an allow rule never allows a call that no rule allowed', () => {
  fc.assert(
    fc.property(rules, allowRule, request, (some, extra, asked) => {
      const before = decide(bundleOf([...some, extra]), asked);
      const after = decide(bundleOf(some), asked);
      // Caps of the rule that went may have been what held the call back.
      if (extra.caps === undefined) assert.ok(isAsNarrow(after, before));
      if (before.effect === 'deny' && before.ruleId === null) assert.equal(after.effect, 'deny');
    }),
  );
});

test('an additional or lower cap never widens what is allowed', () => {
  fc.assert(
    fc.property(rules, request, fc.nat(), (some, asked, pick) => {
      const target = pick % Math.max(1, some.length);
      const capped = some.map((rule, index) =>
        index === target && rule.effect === 'allow'
          ? { ...rule, caps: tighter(rule.caps ?? {}, { timeoutMs: 1, callsPerTurn: 1 }) }
          : rule,
      );
      assert.ok(isAsNarrow(decide(bundleOf(capped), asked), decide(bundleOf(some), asked)));
    }),
  );
});

test('the order of rules changes only the reported id', () => {
  const shuffled = rules.chain((some) =>
    fc.tuple(fc.constant(some), fc.shuffledSubarray([...some], { minLength: some.length })),
  );
  fc.assert(
    fc.property(shuffled, request, ([some, other], asked) => {
      const strip = (decision: Decision) =>
        decision.effect === 'allow' ? decision.caps : decision.errorId;
      const a = decide(bundleOf(some), asked);
      const b = decide(bundleOf(other), asked);
      assert.equal(a.effect, b.effect);
      assert.deepEqual(strip(a), strip(b));
    }),
  );
});

test('in grace only marked rules allow, and nothing that was denied before', () => {
  fc.assert(
    fc.property(rules, request, (some, asked) => {
      const before = decide(bundleOf(some), asked);
      const inGrace = decide(bundleOf(some), asked, 'stale');
      if (!isAllowed(inGrace)) return;
      assert.notEqual(before.effect === 'deny' && before.ruleId === null, true);
      const rule = some.find(({ id }) => id === inGrace.ruleId);
      assert.equal(rule?.duringGrace, true);
    }),
  );
});

test('a decision is a function of its arguments and never throws', () => {
  fc.assert(
    fc.property(rules, request, fc.anything(), (some, asked, odd) => {
      const bundle = bundleOf(some);
      assert.deepEqual(decide(bundle, asked), decide(bundle, asked));
      decide(bundle, { ...asked, arguments: odd, version: String(Object(odd)?.length) });
      assert.ok('content' in checkDocument(POLICY_BUNDLE, bundle));
    }),
  );
});

test('[POL-01] the lowest of each cap among all allowing rules holds', () => {
  const bundle = sampleBundle({
    rules: [
      allow({ id: 'a', caps: { timeoutMs: 100, maxBytes: 10 } }),
      allow({ id: 'b', tools: ['fs.*'], caps: { timeoutMs: 50 } }),
      allow({ id: 'c', tools: ['web.*'], caps: { maxBytes: 1 } }),
    ],
  });
  assert.deepEqual(decide(bundle, sampleRequest()), {
    effect: 'allow',
    ruleId: 'a',
    caps: { timeoutMs: 50, maxBytes: 10 },
  });
});

test('[POL-01] calls of a tool within a turn are counted against the cap', () => {
  const rule = allow({ caps: { callsPerTurn: 2 } });
  const bundle = sampleBundle({ rules: [allow({ id: 'free' }), rule] });
  assert.ok(isAllowed(decide(bundle, sampleRequest({ callsThisTurn: 1 }))));
  for (const callsThisTurn of [2, 3, Number.NaN]) {
    const decision = decide(bundle, sampleRequest({ callsThisTurn }));
    assert.ok(decision.effect === 'deny' && decision.ruleId === 'read');
    assert.match(decision.reason, /2 calls of the tool per turn/);
  }
  const once = sampleBundle({ rules: [allow({ caps: { callsPerTurn: 1 } })] });
  const second = decide(once, sampleRequest({ callsThisTurn: 1 }));
  assert.match(second.effect === 'deny' ? second.reason : '', /allows 1 call of the tool per turn/);
});

test('[POL-01] user, roles, device and version are compared exactly', () => {
  const constraints = [
    { tenants: ['north'] },
    { users: ['user-1'] },
    { roles: ['admin', 'user'] },
    { devices: ['laptop'] },
    { versions: '^1.0.0' },
  ];
  const others = [
    { tenant: 'North' },
    { user: 'alice2' },
    { roles: ['use', 'admins'] },
    { deviceId: '' },
    { version: '2.0.0' },
  ];
  for (const [index, constraint] of constraints.entries()) {
    const bundle = sampleBundle({ rules: [allow(constraint)] });
    assert.ok(isAllowed(decide(bundle, sampleRequest())), JSON.stringify(constraint));
    const other = sampleRequest(others[index]);
    assert.equal(isAllowed(decide(bundle, other)), false, JSON.stringify(other));
  }
});

test('an unknown version satisfies no allow rule and escapes no deny rule', () => {
  for (const version of ['', 'latest', '1', '1.0.0.0']) {
    const asked = sampleRequest({ version });
    assert.equal(
      isAllowed(decide(sampleBundle({ rules: [allow({ versions: '*' })] }), asked)),
      false,
    );
    const denying = sampleBundle({ rules: [allow(), deny({ versions: '<0.1.0' })] });
    assert.equal(isAllowed(decide(denying, asked)), false);
  }
});

test('a pre-release satisfies no plain allow rule and escapes no deny rule around it', () => {
  const asked = sampleRequest({ version: '1.5.0-beta.1' });
  assert.equal(
    isAllowed(decide(sampleBundle({ rules: [allow({ versions: '^1' })] }), asked)),
    false,
  );
  const denying = sampleBundle({ rules: [allow(), deny({ versions: '^1' })] });
  assert.equal(isAllowed(decide(denying, asked)), false);
});

test('[POL-01] a path rule allows only paths that are certainly inside, and denies all that may be', () => {
  const paths = { argument: 'path', within: ['/data/secret'] };
  const allowing = sampleBundle({ rules: [allow({ paths })] });
  const denying = sampleBundle({ rules: [allow(), deny({ paths })] });
  const cases: [unknown, boolean, boolean][] = [
    // arguments, allowed by the allow rule, let through by the deny rule
    [{ path: '/data/secret/a' }, true, false],
    [{ path: '/data/other' }, false, true],
    [{ path: '/DATA/Secret/a' }, false, false],
    [{ path: '/data/x/../secret/a' }, false, false],
    [{ path: 'secret/a' }, false, false],
    [{ path: ['/data/secret/a'] }, false, false],
    [{ path: null }, false, false],
    [{}, false, false],
    [{ Path: '/data/other' }, false, false],
    [JSON.parse('{"__proto__": {"path": "/data/other"}}'), false, false],
    [null, false, false],
    [['path'], false, false],
    ['/data/other', false, false],
  ];
  for (const [args, allowed, letThrough] of cases) {
    const asked = sampleRequest({ arguments: args });
    assert.equal(isAllowed(decide(allowing, asked)), allowed, `allow ${JSON.stringify(args)}`);
    assert.equal(isAllowed(decide(denying, asked)), letThrough, `deny ${JSON.stringify(args)}`);
  }
});

test('[POL-01] a relative path is judged where it starts, if that is known', () => {
  const paths = { argument: 'path', within: ['/data/secret'] };
  const bundle = sampleBundle({ rules: [allow(), deny({ paths })] });
  const isLetThrough = (path: unknown, base: string) => {
    const pathBases = new Map([['path', base]]);
    return isAllowed(decide(bundle, sampleRequest({ arguments: { path }, pathBases })));
  };
  assert.equal(isLetThrough('q3.csv', '/data'), true);
  assert.equal(isLetThrough('secret/q3.csv', '/data'), false);
  assert.equal(isLetThrough('q3.csv', '/data/secret'), false);
  assert.equal(isLetThrough('x/../q3.csv', '/data'), false);
  assert.equal(isLetThrough('~/q3.csv', '/data'), false);
  assert.equal(isLetThrough('q3.csv', 'data'), false);
  const elsewhere = sampleRequest({
    arguments: { path: 'q3.csv' },
    pathBases: new Map([['to', '/data']]),
  });
  assert.equal(isAllowed(decide(bundle, elsewhere)), false);
});

const OPENED = { argument: 'path', path: '/data/pub/a', links: 1 };

/** The decision on `/data/pub/a` once the server has opened these files for it. */
function decideOpened(
  rules: Rule[],
  files: Partial<OpenedFile>[],
  folders: [string, string][] = [],
) {
  const opened = {
    files: files.map((file) => ({ ...OPENED, ...file })),
    realFolders: new Map(folders),
  };
  return decide(
    sampleBundle({ rules }),
    sampleRequest({ arguments: { path: '/data/pub/a' }, opened }),
  );
}

test('[POL-01] a rule about paths judges the opened file as well as the argument', () => {
  const secret = deny({ paths: { argument: 'path', within: ['/data/secret'] } });
  const pub = allow({ paths: { argument: 'path', within: ['/data/pub'] } });
  for (const rules of [[allow(), secret], [pub]]) {
    const isReleased = (...files: Partial<OpenedFile>[]) => isAllowed(decideOpened(rules, files));
    assert.equal(isReleased({}), true);
    assert.equal(isReleased({ path: '/data/secret/a' }), false);
    assert.equal(isReleased({}, { path: '/data/secret/a' }), false);
    assert.equal(isReleased({ links: 2 }), false);
    assert.equal(isReleased({ path: 'pub/a' }), false);
    assert.equal(isReleased({ path: '/data/secret/a', argument: 'to' }), true);
  }
  assert.equal(isAllowed(decideOpened([allow()], [{ links: 2 }])), true);
  const denied = decideOpened([allow(), secret], [{ path: '/data/secret/a' }]);
  assert.ok(denied.effect === 'deny' && denied.ruleId === 'no');
  assert.equal(denied.reason, 'rule no denies the file that was opened');
  const unallowed = decideOpened([pub], [{ path: '/data/secret/a' }]);
  assert.ok(unallowed.effect === 'deny' && unallowed.ruleId === null);
  assert.equal(unallowed.reason, 'no rule allows the file that was opened');
});

test('[POL-01] the folder of a rule is where its links lead', () => {
  const secret = deny({ paths: { argument: 'path', within: ['/data/secret'] } });
  const pub = allow({ paths: { argument: 'path', within: ['/data/pub'] } });
  const moved = { path: '/disk/a' };
  assert.equal(isAllowed(decideOpened([allow(), secret], [moved])), true);
  assert.equal(
    isAllowed(decideOpened([allow(), secret], [moved], [['/data/secret', '/disk']])),
    false,
  );
  assert.equal(isAllowed(decideOpened([pub], [moved])), false);
  assert.equal(isAllowed(decideOpened([pub], [moved], [['/data/pub', '/disk']])), true);
});

test('[POL-01] what a server reports of opened files never widens what is allowed', () => {
  const path = fc.constantFrom('/data/a', '/etc/passwd', 'a', '/data/../etc');
  const file = fc.record({
    argument: fc.constantFrom('path', 'to'),
    path,
    links: fc.integer({ min: 1, max: 2 }),
  });
  fc.assert(
    fc.property(rules, request, fc.array(file, { maxLength: 3 }), (some, asked, files) => {
      const opened = { files, realFolders: new Map() };
      const before = decide(bundleOf(some), asked);
      const after = decide(bundleOf(some), { ...asked, opened });
      // Its caps are those of the first decision, under which it ran.
      if (after.effect === 'allow') assert.equal(before.effect, 'allow');
    }),
    { numRuns: 1_000 },
  );
});
