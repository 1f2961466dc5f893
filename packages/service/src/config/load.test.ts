import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ConfigSources, type ConfigSpec, loadConfig } from './load.ts';
import type { JsonSchema } from './schema.ts';

/** A reference to a secret, as the schemas in contracts/config have it. */
const SECRET_REF_SCHEMA = {
  type: 'object',
  properties: {
    file: { type: 'string', minLength: 1 },
    env: { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_]*$' },
  },
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
} as const satisfies JsonSchema;

const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['relayUrls'],
  properties: {
    relayUrls: { type: 'array', items: { type: 'string', format: 'uri' }, minItems: 1 },
    rpc: { $ref: '#/$defs/listener' },
    turn: {
      type: 'object',
      additionalProperties: false,
      properties: {
        timeout: { type: 'string', format: 'duration', default: '2m' },
        maxSteps: { type: 'integer', minimum: 1, default: 8 },
        strict: { type: 'boolean', default: true },
      },
    },
    servers: { type: 'object', additionalProperties: { $ref: '#/$defs/listener' }, default: {} },
    key: SECRET_REF_SCHEMA,
  },
  $defs: {
    listener: {
      type: 'object',
      additionalProperties: false,
      properties: {
        host: { type: 'string', default: '127.0.0.1' },
        port: { type: 'integer', minimum: 0, maximum: 65_535, default: 0 },
        maxBytes: { type: 'string', format: 'bytes', default: '1MiB' },
      },
    },
  },
} as const satisfies JsonSchema;

interface Listener {
  host: string;
  port: number;
  maxBytes: string;
}

interface Settings {
  relayUrls: string[];
  rpc: Listener;
  turn: { timeout: string; maxSteps: number; strict: boolean };
  servers: Record<string, Listener>;
  key?: { file: string } | { env: string };
}

const SPEC: ConfigSpec = { schema: SCHEMA, envPrefix: 'ZL_HOST', otherEnv: ['ZL_HOST_CONFIG'] };
const MINIMAL = 'relayUrls: [https://relay.test]\n';

function load(yaml: string, sources: Partial<ConfigSources> = {}) {
  return loadConfig<Settings>(SPEC, {
    file: { path: 'host.yaml', text: yaml },
    env: {},
    ...sources,
  });
}

function problemsOf(yaml: string, sources: Partial<ConfigSources> = {}): string[] {
  try {
    load(yaml, sources);
  } catch (error) {
    assert.ok(error instanceof Error && 'id' in error && error.id === 'config.invalid');
    return error.message.split('\n');
  }
  return [];
}

test('[OPS-02] an almost empty file is filled with defaults, in objects left out too', () => {
  assert.deepEqual(load(MINIMAL), {
    relayUrls: ['https://relay.test'],
    rpc: { host: '127.0.0.1', port: 0, maxBytes: '1MiB' },
    turn: { timeout: '2m', maxSteps: 8, strict: true },
    servers: {},
  });
  assert.equal(load(`${MINIMAL}servers: { a: {} }\n`).servers.a?.port, 0);
});

test('[OPS-02] the environment lies over the file, and flags over both', () => {
  const config = load(`${MINIMAL}rpc: { port: 1, host: file }\nturn: { maxSteps: 1 }\n`, {
    env: { ZL_HOST_RPC__PORT: '2', ZL_HOST_TURN__MAX_STEPS: '2', ZL_HOST_TURN__STRICT: 'false' },
    flags: { 'rpc.port': '3', 'turn.timeout': undefined },
  });
  assert.deepEqual(config.rpc, { host: 'file', port: 3, maxBytes: '1MiB' });
  assert.deepEqual(config.turn, { timeout: '2m', maxSteps: 2, strict: false });
});

test('[OPS-02] of all layers that give a value the last one wins', () => {
  const port = fc.option(fc.nat(65_535), { nil: undefined });
  fc.assert(
    fc.property(port, port, port, (file, env, flag) => {
      const config = load(file === undefined ? MINIMAL : `${MINIMAL}rpc: { port: ${file} }\n`, {
        env: { ZL_HOST_RPC__PORT: env?.toString() },
        flags: { 'rpc.port': flag },
      });
      assert.equal(config.rpc.port, flag ?? env ?? file ?? 0);
    }),
  );
});

test('lists and objects can be given by the environment', () => {
  const list = { ZL_HOST_RELAY_URLS: 'https://a.test, https://b.test' };
  assert.deepEqual(load('', { env: list }).relayUrls, ['https://a.test', 'https://b.test']);
  const json = { ZL_HOST_RELAY_URLS: '["https://a.test"]', ZL_HOST_RPC: '{"port":5}' };
  const config = load('', { env: { ...json, ZL_HOST_RPC__HOST: 'inner' } });
  assert.deepEqual(config.relayUrls, ['https://a.test']);
  assert.deepEqual(config.rpc, { port: 5, host: 'inner', maxBytes: '1MiB' });
});

test('[OPS-02] every mistake is reported at once, with its place and the nearest name', () => {
  const yaml = `${MINIMAL}rcp: {}\nrpc:\n  prot: 1\n  maxBytes: 1Mb\nturn:\n  timeout: 10\n`;
  const problems = problemsOf(yaml, {
    env: { ZL_HOST_TURN__MAX_STEP: '3', ZL_HOST_RPC__PORT: 'http' },
    flags: { 'turn.maxSteps': '0', verbose: true },
  });
  assert.deepEqual(problems.sort(), [
    '--set turn.maxSteps: turn.maxSteps must be >= 1',
    '--set verbose: verbose is not a setting.',
    'environment ZL_HOST_RPC__PORT: rpc.port must be integer',
    'environment: ZL_HOST_TURN__MAX_STEP is not a setting. Did you mean "ZL_HOST_TURN__MAX_STEPS"?',
    'host.yaml:2: rcp is not a setting. Did you mean "rpc"?',
    'host.yaml:4: rpc.prot is not a setting. Did you mean "port"?',
    'host.yaml:5: rpc.maxBytes must be a size such as 512, 64KiB or 1MiB',
    'host.yaml:7: turn.timeout must be string',
  ]);
});

test('what is missing is named, in objects of a map too', () => {
  assert.deepEqual(problemsOf(''), ['host.yaml: relayUrls is missing']);
  assert.deepEqual(problemsOf(`${MINIMAL}servers: { a: { prt: 1 } }`), [
    'host.yaml:2: servers.a.prt is not a setting. Did you mean "port"?',
  ]);
});

test('foreign variables, named exceptions and secret references are not settings', () => {
  const env = { PATH: '/bin', ZL_HOSTS: '1', ZL_HOST_CONFIG: 'host.yaml', ZL_HOST_MY_KEY: 'k' };
  assert.deepEqual(load(`${MINIMAL}key: { env: ZL_HOST_MY_KEY }\n`, { env }).key, {
    env: 'ZL_HOST_MY_KEY',
  });
  assert.equal(problemsOf(MINIMAL, { env }).length, 1);
});

test('a broken file is refused by line, and is not quoted', () => {
  const problems = problemsOf('a: 1\nb: "hunter2\n');
  assert.match(problems[0] ?? '', /^host\.yaml:\d: /);
  assert.doesNotMatch(problems.join(), /hunter2/);
  assert.match(problemsOf('a: 1\na: 2\n')[0] ?? '', /^host\.yaml:2: .*unique/);
  assert.deepEqual(problemsOf('[1]'), ['host.yaml: must hold settings by name']);
});

test('aliases that multiply are refused', () => {
  const lines = ['a0: &a0 [x, x]'];
  for (let n = 1; n < 12; n++) {
    lines.push(
      `a${n}: &a${n} [${Array(10)
        .fill(`*a${n - 1}`)
        .join(', ')}]`,
    );
  }
  assert.ok(problemsOf(`${lines.join('\n')}\n`).length > 0);
});

test('names of the prototype are settings like others, unknown ones', () => {
  const problems = problemsOf(`${MINIMAL}__proto__: { polluted: 1 }\nconstructor: 1\n`, {
    flags: { '__proto__.polluted': 1 },
  });
  assert.equal(problems.length, 2);
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
});

test('the result is frozen, all of it', () => {
  const config = load(MINIMAL);
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.rpc));
  assert.ok(Object.isFrozen(config.relayUrls));
});

test('a schema that lets unknown keys pass is refused', () => {
  const open = { type: 'object', properties: { a: { type: 'string' } } };
  assert.throws(
    () => loadConfig({ schema: open, envPrefix: 'X' }, { env: {} }),
    /additionalProperties/,
  );
});

test('[OPS-02] a variable changes the setting it names, and not its alias in the file', () => {
  const text = `${MINIMAL}rpc: &listener { port: 1 }\nservers: { a: *listener }\n`;
  const settings = loadConfig<Settings>(SPEC, {
    file: { path: 'host.yaml', text },
    env: { ZL_HOST_RPC__PORT: '2' },
  });
  assert.equal(settings.rpc.port, 2);
  assert.equal(settings.servers.a?.port, 1);
});
