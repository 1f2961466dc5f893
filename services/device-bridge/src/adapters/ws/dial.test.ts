import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { SocketEnd } from '../../ports.ts';
import { wsDial } from './dial.ts';

/** A relay that only counts connections. */
async function counter(t: TestContext) {
  let seen = 0;
  const server = createServer((socket) => {
    seen += 1;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `wss://127.0.0.1:${port}/v1/device`, seen: () => seen };
}

function endOf(url: string, ca: string): Promise<SocketEnd> {
  return new Promise((resolve) => {
    const events = { onOpen() {}, onMessage() {}, onSign() {}, onClose: resolve };
    wsDial(() => ({ ca, timeoutMs: 10_000 }))(url, events);
  });
}

test('without an authority no relay is dialled, not even one with a public certificate', async (t) => {
  const { url, seen } = await counter(t);
  assert.match((await endOf(url, '')).reason, /relay\.caFile/);
  assert.equal(seen(), 0);
  assert.notEqual((await endOf(url, 'rubbish')).reason, '');
  assert.equal(seen(), 1);
});

test('an invalid address is reported like a relay that cannot be reached', async () => {
  const { code, reason } = await endOf('wss://relay.invalid:99999/v1/device', 'rubbish');
  assert.equal(code, 1006);
  assert.match(reason, /URL/);
});
