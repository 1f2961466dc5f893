import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListedBalancers } from './listed-balancers.ts';

const balancers = new ListedBalancers({
  ...{ engine: 'auto', proxyProtocol: 'forwarded-for' },
  trustedProxies: ['10.0.0.0/8', '192.0.2.9', '2001:db8::/32'],
});

test('[RLY-01] trusts the listed networks, however an address is spelled', () => {
  for (const address of ['10.255.0.1', '192.0.2.9', '2001:db8:1::', '::ffff:10.0.0.1']) {
    assert.equal(balancers.trusts(address), true, address);
  }
  for (const address of ['11.0.0.1', '192.0.2.8', '2001:db9::1', '::ffff:11.0.0.1', '', 'x']) {
    assert.equal(balancers.trusts(address), false, address);
  }
});

test('[RLY-01] of a chain of addresses, the last that is not a balancer counts', () => {
  const cases: Record<string, string> = {
    '198.51.100.1': '198.51.100.1',
    '203.0.113.1, 198.51.100.1': '198.51.100.1',
    '203.0.113.1,198.51.100.1 , 10.0.0.1,192.0.2.9': '198.51.100.1',
    '10.0.0.9, 198.51.100.1, 10.0.0.1': '198.51.100.1',
    '<script>, 198.51.100.1': '198.51.100.1',
    '198.51.100.1:51000, 10.0.0.1:443': '198.51.100.1',
    '[2001:db9::1]:51000': '2001:db9::1',
    '2001:db9::1': '2001:db9::1',
  };
  for (const [header, address] of Object.entries(cases)) {
    assert.deepEqual(balancers.forwardedFor(header), { address }, header);
  }
  for (const header of ['', ' , ', '10.0.0.1']) {
    assert.equal(balancers.forwardedFor(header), 'own', header);
  }
  for (const header of ['198.51.100.1, unknown', '198.51.100.999', '[198.51.100.1', ':1']) {
    assert.equal(balancers.forwardedFor(header), 'unreadable', header);
  }
});

test('[OPS-02] refuses settings of balancers that cannot work', () => {
  const given = (
    proxyProtocol: 'none' | 'v2' | 'forwarded-for',
    trustedProxies: string[],
    engine: 'auto' | 'uws' = 'auto',
  ) => new ListedBalancers({ engine, proxyProtocol, trustedProxies });
  assert.throws(() => given('v2', ['10.0.0.0/8'], 'uws'), /needs sockets\.engine: ws/);
  assert.throws(() => given('v2', []), /need each other/);
  assert.throws(() => given('none', ['10.0.0.0/8']), /need each other/);
  for (const network of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', 'balancer', '10.0.0.0/8/8']) {
    assert.throws(() => given('v2', [network]), /is not an address or network/, network);
  }
  assert.equal(given('forwarded-for', ['10.0.0.0/8'], 'uws').kind, 'forwarded-for');
});
