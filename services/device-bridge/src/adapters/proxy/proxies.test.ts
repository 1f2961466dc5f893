import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectProxy, tempDir } from '@zerolatency/testing';
import type { SocketEnd } from '../../ports.ts';
import { streamDial } from '../http-stream/dial.ts';
import { wsDial } from '../ws/dial.ts';
import { Proxies } from './proxies.ts';

const RELAY = 'wss://relay.example:8444/v1/device';
const ENV = { HTTPS_PROXY: 'http://user:pa%3Ass@proxy.example:3128' };

test('[BRG-08] the environment names a proxy, and what does without it', () => {
  const direct = [
    ['relay.example', RELAY],
    ['.example', RELAY],
    ['*.example', RELAY],
    ['other.test, EXAMPLE', RELAY],
    ['relay.example:8444', RELAY],
    ['*', RELAY],
    ['10.0.0.7', 'wss://10.0.0.7/v1/device'],
    ['', 'wss://localhost:8444/v1/device'],
    ['', 'wss://127.0.0.1:8444/v1/device'],
    ['', 'wss://[::1]:8444/v1/device'],
  ];
  for (const [exceptions, url = ''] of direct) {
    assert.equal(new Proxies(undefined, { ...ENV, NO_PROXY: exceptions }).for(url), undefined, url);
  }
  for (const exceptions of [
    undefined,
    '',
    'elay.example',
    'relay.example:443',
    'relay.example.org',
  ]) {
    const proxy = new Proxies(undefined, { ...ENV, NO_PROXY: exceptions }).for(RELAY);
    assert.equal(proxy?.url, 'http://proxy.example:3128');
    assert.equal(proxy.authorization(), `Basic ${btoa('user:pa:ss')}`);
  }
  assert.equal(new Proxies(undefined, {}).for(RELAY), undefined);
  const short = new Proxies(undefined, { HTTPS_PROXY: 'user:pw@proxy.example:3128' }).for(RELAY);
  assert.equal(short?.url, 'http://proxy.example:3128');
  const lower = { https_proxy: 'http://lower.test:1', no_proxy: 'other.test' };
  assert.equal(new Proxies(undefined, { ...ENV, ...lower }).for(RELAY)?.url, 'http://lower.test:1');
});

test('[BRG-08] the setting counts before the environment, for every address', (t) => {
  const credentialsFile = join(tempDir(t), 'credentials');
  const settings = { url: 'http://own.example:8080', credentialsFile };
  const proxy = new Proxies(settings, { ...ENV, NO_PROXY: '*' }).for('wss://localhost:1/v1/device');
  assert.equal(proxy?.url, 'http://own.example:8080');
  assert.throws(() => proxy.authorization(), { id: 'file.unusable' });
  writeFileSync(credentialsFile, 'a:b\n');
  assert.equal(proxy.authorization(), `Basic ${btoa('a:b')}`);
});

test('[BRG-08] an unusable address of a proxy is refused without repeating it', () => {
  for (const given of [
    'socks5://user:s3cret@host:1',
    'user:s3cret@proxy:port',
    'http://',
    'a:s3cret%@b',
  ]) {
    assert.throws(
      () => new Proxies(undefined, { HTTPS_PROXY: given }),
      ({ id, message }: { id: string; message: string }) =>
        id === 'config.invalid' && message.includes('HTTPS_PROXY') && !message.includes('s3cret'),
    );
  }
});

for (const [name, dialWith] of Object.entries({ WebSocket: wsDial, 'HTTP stream': streamDial })) {
  const endOf = async (t: TestContext, proxyUrl: string, url: string, credentials = '') => {
    const credentialsFile = join(tempDir(t), 'credentials');
    writeFileSync(credentialsFile, credentials);
    const proxy = new Proxies({ url: proxyUrl, credentialsFile }, {}).for(url);
    const dial = dialWith(() => ({ ca: 'rubbish', timeoutMs: 20_000, proxy }));
    let isReached: boolean | undefined;
    const end = await new Promise<SocketEnd>((resolve) => {
      const events = { onOpen() {}, onMessage() {}, onSign() {} };
      const socket = dial(url, {
        ...events,
        onClose: (ended) => {
          isReached = socket.isReached;
          resolve(ended);
        },
      });
    });
    assert.deepEqual([end.code, isReached], [1006, false]);
    return end.reason;
  };

  test(`[BRG-08] ${name}: says which proxy refuses, and what helps`, async (t) => {
    const proxy = await connectProxy('user:right');
    t.after(() => proxy.close());
    const nowhere = 'wss://127.0.0.1:1/v1/device';
    assert.match(
      await endOf(t, proxy.url, nowhere, 'user:wrong-one'),
      /^proxy\.refused: the proxy http:\/\/127\.0\.0\.1:\d+ .*407.*relay\.proxy\.credentialsFile$/,
    );
    assert.equal(proxy.counts.opened, 0);
    assert.match(
      await endOf(t, proxy.url, nowhere, 'user:right'),
      /proxy\.refused: .*502.*allow it/,
    );
    assert.match(
      await endOf(t, 'http://127.0.0.1:1', nowhere),
      /proxy\.refused: the proxy http:\/\/127\.0\.0\.1:1 cannot be used .*check its address/,
    );
  });
}
