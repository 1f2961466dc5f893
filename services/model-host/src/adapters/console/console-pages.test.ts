import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentTurns } from '../../console/recent-turns.ts';
import { consolePages } from './console-pages.ts';

const pages = consolePages(
  {
    policy: { current: () => ({ state: 'none' }) },
    contracts: { find: () => undefined, all: [] },
    relay: undefined,
  },
  new RecentTurns(),
);

async function statusesFor(peer: string): Promise<number[]> {
  const request = { peer, host: '127.0.0.1:9443', query: new URLSearchParams() };
  const answers = await Promise.all(Object.values(pages).map((page) => page(request)));
  return [...new Set(answers.map(({ status }) => status))];
}

test('[CLI-04] only clients on loopback are answered', async () => {
  for (const peer of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) {
    assert.deepEqual(await statusesFor(peer), [200], peer);
  }
  for (const peer of ['10.0.0.7', '::ffff:10.0.0.7', 'fe80::1', '2001:db8::127', '']) {
    assert.deepEqual(await statusesFor(peer), [403], peer);
  }
});
