import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { NO_BALANCERS } from '../../test/engine-world.ts';
import { ListedBalancers } from '../adapters/listed-balancers/listed-balancers.ts';
import { Arrivals, type Unadmitted } from './arrivals.ts';
import type { Balancers } from './socket-engine.ts';

interface World {
  readonly proveWithinMs?: number;
  readonly balancers?: Balancers;
  readonly connectsPerAddress?: number;
}

function arrivals(t: TestContext, max: number, world: World = {}) {
  const { proveWithinMs = 60_000, balancers = NO_BALANCERS, connectsPerAddress = 1000 } = world;
  const ended: Unadmitted[] = [];
  const cut: string[] = [];
  const arriving = new Arrivals({
    max,
    proveWithinMs,
    connectsPerAddress,
    balancers,
    monotonicMs: () => 0,
    onUnadmitted: (why) => ended.push(why),
  });
  const arrive = (address: string, name = address) => {
    const arrival = arriving.arrive(address, () => cut.push(name));
    t.after(() => arrival?.gone());
    return arrival!;
  };
  return { world: arriving, arrive, ended, cut };
}

test('[RLY-01] strangers take the places of the oldest strangers, and none of those kept for proved networks', (t) => {
  const { world, arrive, ended, cut } = arrivals(t, 8);
  arrive('192.0.2.1').proved();
  const names = Array.from({ length: 20 }, (_, index) => `198.51.100.${index}`);
  for (const name of names) arrive(name);
  assert.deepEqual(cut, names.slice(0, 14));
  assert.equal(world.size, 6);
  arrive('192.0.2.1', 'returning');
  arrive('192.0.2.1', 'again');
  assert.deepEqual(cut, names.slice(0, 14));
  for (const name of names) arrive(name);
  assert.equal(cut.includes('returning'), false);
  assert.equal(world.size, 8);
  // More of one network than its share stand in line with strangers.
  arrive('192.0.2.1', 'third');
  assert.equal(world.size, 8);
  assert.ok(ended.every((why) => why === 'evicted'));
});

test('[RLY-01] the network that proved itself longest ago is the first to be forgotten', (t) => {
  const { arrive, cut } = arrivals(t, 8);
  const prove = (address: string) => arrive(address).proved();
  const address = (index: number) => `10.0.${index >> 8}.${index & 255}`;
  for (let index = 0; index < 10_000; index++) prove(address(index));
  prove(address(0));
  prove('192.0.2.1');
  for (let stranger = 0; stranger < 6; stranger++) arrive(`198.51.100.${stranger}`);
  arrive(address(0));
  arrive(address(2));
  assert.deepEqual(cut, []);
  arrive(address(1), 'forgotten');
  assert.deepEqual(cut, ['198.51.100.0']);
});

test('[RLY-01] a peer that proved itself or left makes room, and is not ended', (t) => {
  const { world, arrive, cut } = arrivals(t, 4);
  const peers = ['a', 'b', 'c'].map((name) => arrive(name));
  peers[0]?.proved();
  peers[1]?.gone();
  assert.equal(world.size, 1);
  for (const name of ['d', 'e']) arrive(name);
  assert.deepEqual(cut, []);
  arrive('f');
  assert.deepEqual(cut, ['c']);
});

test('[RLY-01] a peer that is late is ended by its socket, or cut where that is gone', async (t) => {
  const { world, arrive, ended } = arrivals(t, 4, { proveWithinMs: 5 });
  const events = new EventTarget();
  const reasons: string[] = [];
  arrive('a').endSocket = (why) => {
    reasons.push(why);
    events.dispatchEvent(new Event('ended'));
    return true;
  };
  await once(events, 'ended');
  assert.deepEqual([reasons, ended, world.size], [['late'], ['late'], 0]);
});

test('[RLY-01] a balancer has no rate of its own, and strangers behind it fill only the room of strangers', (t) => {
  const balancers = new ListedBalancers({
    ...{ engine: 'auto', proxyProtocol: 'v2', trustedProxies: ['10.0.0.1'] },
  });
  const { world, arrive, ended, cut } = arrivals(t, 8, { balancers, connectsPerAddress: 1 });
  const first = arrive('10.0.0.1', 'first');
  assert.equal(first.named('192.0.2.1'), true);
  first.proved();
  for (let i = 0; i < 100; i++) arrive('10.0.0.1', 'stranger');
  assert.deepEqual([world.size, cut.length], [6, 94]);
  const returning = arrive('10.0.0.1', 'returning');
  assert.equal(returning.named('192.0.2.1'), true);
  for (let i = 0; i < 10; i++) arrive('10.0.0.1', 'stranger');
  assert.equal(cut.includes('returning'), false);
  const busy = Array.from({ length: 6 }, () => arrive('10.0.0.1', 'busy'));
  const named = busy.map((peer) => peer.named('192.0.2.2'));
  assert.deepEqual(named, [true, true, true, true, true, true]);
  for (let i = 0; i < 6; i++) arrive('10.0.0.1').named('192.0.2.2');
  assert.equal(ended.filter((why) => why === 'rate').length, 2);
  assert.equal(busy[0]?.named('192.0.2.3'), false);
  assert.equal(arrive('10.0.0.1').named(undefined), false);
  assert.equal(arrive('192.0.2.9'), undefined);
  assert.deepEqual(ended.slice(-2), ['proxy', 'proxy']);
});
