import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readHostConfig } from './config.ts';

const TLS = { certFile: 'c', keyFile: 'k', caFile: 'a' };
const LEAST = {
  'identity.jwksFile': 'keys.json',
  'identity.issuer': 'i',
  'identity.audience': 'a',
  'ledger.dir': 'ledger',
  'ledger.key': { file: 'key.pem' },
};

function load(flags: Record<string, unknown>, env: Record<string, string> = {}) {
  return readHostConfig({ env, flags: { ...LEAST, ...flags } });
}

test('[OPS-02] compiles durations and sizes to milliseconds and bytes', () => {
  const config = load({ 'rpc.tls': TLS, 'turn.timeout': '90s', 'turn.maxToolResult': '1KiB' });
  assert.equal(config.turn.timeoutMs, 90_000);
  assert.equal(config.turn.maxToolResultBytes, 1024);
  assert.equal(config.drain.deadlineMs, 25_000);
  assert.match(config.digest, /^sha256:/);
});

test('[OPS-02] the environment adds settings, and unknown names are reported', () => {
  const config = load({ 'rpc.tls': TLS }, { ZL_HOST_RPC__PORT: '7', ZL_HOST_CONFIG: 'x.yaml' });
  assert.equal(config.rpc.port, 7);
  assert.throws(
    () => load({ 'rpc.tls': TLS }, { ZL_HOST_RPC__PROT: '7' }),
    /ZL_HOST_RPC__PROT.*PORT/s,
  );
  assert.throws(() => load({ 'rpc.tls': TLS, 'turn.maxStep': 1 }), /turn\.maxStep.*maxSteps/s);
});

test('[OPS-05] cleartext is for loopback addresses only', () => {
  assert.throws(() => load({}), /rpc\.tls is missing/);
  assert.throws(() => load({ 'rpc.cleartext': true, 'rpc.tls': TLS }), /exclude/);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.evil.example', 'example.com']) {
    assert.throws(() => load({ 'rpc.cleartext': true, 'rpc.host': host }), /not a loopback/, host);
  }
  for (const host of ['127.0.0.1', '127.0.0.2', '::1', 'localhost']) {
    assert.equal(load({ 'rpc.cleartext': true, 'rpc.host': host }).rpc.tls, undefined);
  }
});

test('a relay without a client certificate or the keys of its devices is refused', () => {
  const relay = { 'rpc.tls': TLS, 'relay.urls': ['https://127.0.0.1:1'] };
  assert.throws(() => load(relay), /relay\.tls/);
  assert.throws(() => load({ ...relay, 'relay.tls': TLS }), /relay\.deviceKeysFile/);
  const config = load({ ...relay, 'relay.tls': TLS, 'relay.deviceKeysFile': 'd.json' });
  const named = { ...relay, 'relay.tls': TLS, 'relay.deviceKeysFile': 'd.json' };
  const unnamed = { ...named, 'relay.urls': ['dns:///'] };
  assert.throws(() => load(unnamed), /relay\.urls: dns:\/\/\/ is not/);
  assert.deepEqual(config.relay?.urls, ['https://127.0.0.1:1']);
});

test('[PROV-04] a provider without an address or a key, or with a key in clear text, is refused', () => {
  const vendor = (settings: object) =>
    load({ 'rpc.tls': TLS, 'providers.vendors': { one: settings } }).providers.vendors[0];
  const key = { env: 'KEY' };
  assert.throws(() => vendor({ type: 'openai-compatible' }), /vendors\.one\.baseUrl is missing/);
  assert.throws(() => vendor({ type: 'anthropic' }), /vendors\.one\.key is missing/);
  assert.throws(() => vendor({ type: 'anthropic', key: 'sk-in-the-text' }), /vendors\.one\.key/);
  const far = { type: 'openai-compatible', baseUrl: 'http://models.example/v1' };
  assert.throws(() => vendor({ ...far, key }), /key to models\.example in clear text/);
  assert.equal(vendor(far)?.key, undefined);
  const mock = { 'rpc.tls': TLS, 'providers.vendors': { mock: { type: 'anthropic', key } } };
  assert.throws(() => load(mock), /vendors\.mock/);
  for (const baseUrl of ['http://127.0.0.1:1/v1', 'http://[::1]:1/v1', 'https://x.example/v1']) {
    assert.equal(vendor({ type: 'openai', key, baseUrl })?.baseUrl, baseUrl);
  }
  assert.deepEqual(vendor({ type: 'google', key })?.bounds, {
    connections: 256,
    firstByteMs: 60_000,
    idleMs: 60_000,
    totalMs: 600_000,
    maxReplyBytes: 16 * 1024 * 1024,
  });
});

test('[HOST-07] an agent with an unknown model, or tools that it could never call, is refused', () => {
  const agents = (agent: object, flags: object = {}) =>
    load({ 'rpc.tls': TLS, agents: { helper: { description: 'Helps.', ...agent } }, ...flags })
      .agents;
  assert.deepEqual(agents({}), [
    { name: 'helper', description: 'Helps.', model: '', prompt: '', tools: [] },
  ]);
  assert.throws(() => agents({ model: 'none' }), /agents\.helper\.model: "none" is not an alias/);
  const tools = ['fs.read'];
  assert.throws(() => agents({ tools }), /agents\.helper\.tools: turn\.maxToolDepth is 1/);
  assert.deepEqual(agents({ tools }, { 'turn.maxToolDepth': 2 })[0]?.tools, tools);
});
