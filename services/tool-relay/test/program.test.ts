import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { makeAuthority, makeEnrolment, tempDir } from '@zerolatency/testing';
import { WebSocket } from 'ws';

const main = join(import.meta.dirname, '../src/main.ts');

async function configFile(t: TestContext, more: object = {}): Promise<string> {
  const dir = tempDir(t);
  const { certFile, keyFile, caFile } = await (await makeAuthority(dir)).server();
  const { jwksFile } = await makeEnrolment(dir);
  const path = join(dir, 'relay.yaml');
  const config = {
    relayId: 'relay-7',
    tls: { certFile, keyFile, caFile },
    enrolment: { jwksFile },
    sockets: { port: 0 },
    rpc: { port: 0 },
    admin: { port: 0 },
    ...more,
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function run(t: TestContext, args: readonly string[], env: Record<string, string> = {}) {
  const flags = ['--disable-warning=ExperimentalWarning', main, ...args];
  const child = spawn(process.execPath, flags, { env: { PATH: process.env.PATH, ...env } });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function readyLine({ stdout }: ReturnType<typeof run>): Promise<Record<string, string>> {
  for await (const line of createInterface({ input: stdout })) {
    const parsed = JSON.parse(line);
    if (parsed.event === 'ready') return parsed;
  }
  throw new Error('the program ended before it was ready');
}

for (const engine of ['uws', 'ws']) {
  test(`a link's token may carry a chain of certificates (${engine})`, async (t) => {
    const child = run(t, ['--config', await configFile(t), '--set', `sockets.engine=${engine}`]);
    const { socketUrl } = await readyLine(child);
    // An invalid token. A header over the limit would be answered with 431.
    const headers = { authorization: `Bearer ${'x'.repeat(10_000)}` };
    const client = new WebSocket(`${socketUrl}/v1/link`, { headers, rejectUnauthorized: false });
    const [, response] = await once(client, 'unexpected-response');
    assert.equal(response.statusCode, 401);
    client.on('error', () => {});
    client.terminate();
  });
}

test('the program prints its addresses and exits with 0 on SIGTERM', async (t) => {
  const child = run(t, ['--config', await configFile(t)]);
  const exited = once(child, 'exit');
  const ready = await readyLine(child);
  assert.equal(ready.relayId, 'relay-7');
  assert.match(ready.socketUrl ?? '', /^wss:\/\/localhost:\d+$/);
  assert.match(ready.rpcUrl ?? '', /^https:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await fetch(`${ready.adminUrl}/readyz`)).status, 200);
  const health = await (await fetch(`${ready.adminUrl}/health`)).text();
  assert.match(health, /"status":"ok".*"configDigest":"sha256:/);
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
});

test('[OPS-02] refuses an unknown setting by name before it opens anything', async (t) => {
  // Whoever opened the certificate first would fail on that.
  const env = { ZL_RELAY_SOKETS__PORT: '1', ZL_RELAY_TLS__CERT_FILE: '/nowhere' };
  const child = run(t, ['--config', await configFile(t)], env);
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  assert.equal(code, 1);
  assert.doesNotMatch(errors, /nowhere/);
  assert.match(errors, /config\.invalid: .*ZL_RELAY_SOKETS__PORT.*ZL_RELAY_SOCKETS__PORT/s);
});

test('[OPS-02] prints the effective configuration on request', async (t) => {
  const path = await configFile(t);
  const env = { ZL_RELAY_CONFIG: path, ZL_RELAY_LINKS__MAX: '3' };
  const child = run(t, ['--print-config', '--set', 'sockets.heartbeat=7s'], env);
  const printed = await text(child.stdout);
  assert.match(printed, /heartbeat: 7s/);
  assert.match(printed, /max: 3\n/);
});

test('refuses sizes that contradict each other', async (t) => {
  for (const more of [
    { sockets: { port: 0, maxFrame: '2MiB' } },
    { devices: { maxCatalog: '1MiB' } },
    { tenants: { bytesPerSecond: '1023KiB' } },
  ]) {
    const child = run(t, ['--config', await configFile(t, more)]);
    const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    assert.equal(code, 1);
    assert.match(errors, /config\.invalid/);
  }
});
