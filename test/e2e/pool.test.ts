import assert from 'node:assert/strict';
import { platform } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRedis, tempDir } from '@zerolatency/testing';
import { layoutOf } from '../../services/cli/src/installation/layout.ts';
import { processesOf, stopWithTests } from './installed-processes.ts';
import { readScrape, type Scrape, sumOf } from './scrape.ts';
import { runZl } from './system.ts';

const skip = platform() === 'linux' ? needsRedis().skip : 'reads /proc';
const RELAYS = ['tool-relay', 'tool-relay-2', 'tool-relay-3'];

test('[RLY-04] [CLI-01] zl up --relays 3 starts a pool whose first chat crosses pods', {
  timeout: 300_000,
  skip,
}, async (t) => {
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => zl('down'));
  const layout = layoutOf(join(tempDir(t), '.zl'));
  stopWithTests(layout.home);
  const zl = (...args: string[]) => runZl(layout, args);
  const { status, stdout, stderr } = await zl('up', '--relays', '3');
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /Started redis, registrar, tool-relay, tool-relay-2, tool-relay-3, /);
  assert.match(stdout, /Receipt verified: call [0-9a-f]{32}, done/);

  const { components, devices } = JSON.parse((await zl('status', '--json')).stdout);
  const healthOf = new Map<string, string>();
  const scrapes = new Map<string, Scrape>();
  for (const { name, health, addresses } of components) {
    healthOf.set(name, health);
    if (!RELAYS.includes(name)) continue;
    scrapes.set(name, readScrape(await (await fetch(addresses.metrics)).text()));
  }
  for (const name of [...RELAYS, 'redis']) assert.equal(healthOf.get(name), 'ok', name);
  const holding = (metric: string, labels = {}) =>
    RELAYS.filter((name) => sumOf(scrapes.get(name)!, metric, labels) > 0);
  const [owner = '', ...others] = holding('zl_relay_devices_live');
  assert.deepEqual(others, []);
  // The pod that came last found all three, among which devices are divided.
  assert.equal(Math.max(...RELAYS.map((name) => sumOf(scrapes.get(name)!, 'zl_relay_pods'))), 3);
  assert.equal(devices[0].relayId, owner.replace('tool-', ''));
  // One pod was asked where the device is, and another had the link and its frames.
  const method = 'zerolatency.relay.v1.RelayService/Locate';
  const asked = holding('zl_rpc_requests_total', { method, error_id: 'none' });
  assert.ok(asked.length > 0 && !asked.includes(owner), `${asked} and ${owner}`);
  assert.deepEqual(holding('zl_relay_links_open'), [owner]);
  assert.deepEqual(holding('zl_relay_frames_total', { from: 'host' }), [owner]);

  const other = await zl('up', '--relays', '2');
  assert.equal(other.status, 1);
  assert.match(other.stderr, /this installation has 3 relays and keeps them/);
  assert.match((await zl('logs', 'tool-relay')).stdout, /tool-relay-3/);
  const down = await zl('down');
  assert.equal(down.stdout.match(/ stopped$/gm)?.length, 7, down.stdout);
  assert.deepEqual(processesOf(layout.home), []);
});
