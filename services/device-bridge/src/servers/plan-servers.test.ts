import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ManifestServer } from '@zerolatency/policy';
import fc from 'fast-check';
import { isWanted, type Posts, type PostsEvent, planServers } from './plan-servers.ts';

const server = (name: string, variant = 0): ManifestServer => ({
  name,
  command: '/usr/bin/server',
  sha256: 'ab'.repeat(32),
  args: [`${variant}`],
  env: { allow: [], set: {} },
});

/** What a plan says after each of the events, shortly. */
function plansOf(...events: readonly PostsEvent[]) {
  let posts: Posts = new Map();
  return events.map((event) => {
    const plan = planServers(posts, event);
    posts = plan.posts;
    const start = plan.start.map(({ name, args }) => `${name}${args[0]}`);
    const wanted = [...posts.keys()].filter((name) => isWanted(posts.get(name)));
    return { start, drain: plan.drain, wanted };
  });
}

test('[BRG-02] what is new starts, what is dropped drains, and what is the same is left alone', () => {
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

test('[BRG-02] a changed server starts by its new spec when the one before it is gone', () => {
  const plans = plansOf({ wanted: [server('a')] }, { wanted: [server('a', 1)] }, { gone: 'a' });
  assert.deepEqual(plans, [
    { start: ['a0'], drain: [], wanted: ['a'] },
    { start: [], drain: ['a'], wanted: ['a'] },
    { start: ['a1'], drain: [], wanted: ['a'] },
  ]);
});

test('while one drains, the newest manifest says what comes after it', () => {
  const changed = [{ wanted: [server('a')] }, { wanted: [server('a', 1)] }];
  const last = (...events: readonly PostsEvent[]) => plansOf(...changed, ...events).at(-1);
  const started = { drain: [], wanted: ['a'] };
  assert.deepEqual(last({ wanted: [server('a', 2)] }, { gone: 'a' }), {
    start: ['a2'],
    ...started,
  });
  // The same as drains now: it takes calls no more, so another has to start.
  assert.deepEqual(last({ wanted: [server('a')] }, { gone: 'a' }), { start: ['a0'], ...started });
  assert.deepEqual(last({ wanted: [] }, { gone: 'a' }), { start: [], drain: [], wanted: [] });
});

test('the word of a server that nobody asked to drain changes nothing', () => {
  const [, plan] = plansOf({ wanted: [server('a')] }, { gone: 'a' });
  assert.deepEqual(plan, { start: [], drain: [], wanted: ['a'] });
});

const manifest = fc
  .uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'))
  .chain((names) => fc.tuple(...names.map((name) => fc.nat(2).map((v) => server(name, v)))));
/** A manifest takes hold, or one of those that drain is gone. */
const step = fc.oneof(manifest, fc.nat(3));

test('[BRG-02] whatever the manifests, in the end exactly those of the last one run, and never two of a name', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), manifest, (steps, last) => {
      let posts: Posts = new Map();
      const running = new Map<string, ManifestServer>();
      const draining = new Set<string>();
      const apply = (event: PostsEvent) => {
        const plan = planServers(posts, event);
        posts = plan.posts;
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
      assert.deepEqual(new Set(posts.keys()), new Set(running.keys()));
    }),
  );
});
