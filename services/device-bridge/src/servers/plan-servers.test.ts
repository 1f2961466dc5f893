import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandServer, ManifestServer } from '@zerolatency/manifest';
import fc from 'fast-check';
import { isWanted, planServers, type ServerSlots, type SlotsEvent } from './supervisor.ts';

const server = (name: string, variant = 0): CommandServer => ({
  name,
  command: '/usr/bin/server',
  sha256: 'ab'.repeat(32),
  args: [`${variant}`],
  env: { allow: [], set: {} },
});

/** A short form of the plan after each event. */
function plansOf(...events: readonly SlotsEvent[]) {
  let slots: ServerSlots = new Map();
  return events.map((event) => {
    const plan = planServers(slots, event);
    slots = plan.slots;
    const start = plan.start.map((spec) => spec.name + ('args' in spec ? spec.args[0] : ''));
    const wanted = [...slots.keys()].filter((name) => isWanted(slots.get(name)));
    return { start, drain: plan.drain, wanted };
  });
}

test('[BRG-02] new servers start, dropped ones drain and unchanged ones are left alone', () => {
  const plans = plansOf(
    { wanted: [server('a'), server('b')] },
    { wanted: [server('c'), server('b')] },
    { gone: 'a' },
  );
  assert.deepEqual(plans, [
    { start: ['a0', 'b0'], drain: [], wanted: ['a', 'b'] },
    { start: ['c0'], drain: ['a'], wanted: ['c', 'b'] },
    { start: [], drain: [], wanted: ['c', 'b'] },
  ]);
});

test('[BRG-02] a changed server starts with its new spec once the old one is gone', () => {
  const plans = plansOf({ wanted: [server('a')] }, { wanted: [server('a', 1)] }, { gone: 'a' });
  assert.deepEqual(plans, [
    { start: ['a0'], drain: [], wanted: ['a'] },
    { start: [], drain: ['a'], wanted: ['a'] },
    { start: ['a1'], drain: [], wanted: ['a'] },
  ]);
});

test('while a server drains, the newest manifest decides what replaces it', () => {
  const changed = [{ wanted: [server('a')] }, { wanted: [server('a', 1)] }];
  const last = (...events: readonly SlotsEvent[]) => plansOf(...changed, ...events).at(-1);
  const started = { drain: [], wanted: ['a'] };
  assert.deepEqual(last({ wanted: [server('a', 2)] }, { gone: 'a' }), {
    start: ['a2'],
    ...started,
  });
  // Equal to the draining one, which takes no more calls, so another must start.
  assert.deepEqual(last({ wanted: [server('a')] }, { gone: 'a' }), { start: ['a0'], ...started });
  assert.deepEqual(last({ wanted: [] }, { gone: 'a' }), { start: [], drain: [], wanted: [] });
});

test('the end of a server that was not draining changes nothing', () => {
  const [, plan] = plansOf({ wanted: [server('a')] }, { gone: 'a' });
  assert.deepEqual(plan, { start: [], drain: [], wanted: ['a'] });
});

const manifest = fc
  .uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'))
  .chain((names) => fc.tuple(...names.map((name) => fc.nat(2).map((v) => server(name, v)))));
/** A manifest comes into force, or a draining server is gone. */
const step = fc.oneof(manifest, fc.nat(3));

test('[BRG-02] after any manifests exactly the servers of the last one run, and never two of a name', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), manifest, (steps, last) => {
      let slots: ServerSlots = new Map();
      const running = new Map<string, ManifestServer>();
      const draining = new Set<string>();
      const apply = (event: SlotsEvent) => {
        const plan = planServers(slots, event);
        slots = plan.slots;
        for (const name of plan.drain) {
          assert.ok(running.has(name) && !draining.has(name), `${name} drains once`);
          draining.add(name);
        }
        for (const spec of plan.start) {
          assert.ok(!running.has(spec.name), `${spec.name} would run twice`);
          running.set(spec.name, spec);
        }
      };
      const end = (name: string | undefined) => {
        if (name === undefined) return;
        draining.delete(name);
        running.delete(name);
        apply({ gone: name });
      };
      for (const next of steps) {
        if (typeof next === 'number') end([...draining][next]);
        else apply({ wanted: next });
      }
      apply({ wanted: last });
      while (draining.size > 0) end([...draining][0]);
      const byName = (a: ManifestServer, b: ManifestServer) => a.name.localeCompare(b.name);
      assert.deepEqual([...running.values()].sort(byName), [...last].sort(byName));
      assert.deepEqual(new Set(slots.keys()), new Set(running.keys()));
    }),
  );
});
