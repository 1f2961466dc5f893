import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configDigest, describeConfig } from './describe.ts';
import type { JsonSchema } from './schema.ts';
import { resolveSecret } from './secret.ts';

const SCHEMA: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    store: { type: 'string' },
    pin: { type: 'string', 'x-secret': true },
    keys: { type: 'array', items: { $ref: '#/$defs/key' } },
    byName: { type: 'object', additionalProperties: { $ref: '#/$defs/key' } },
  },
  $defs: {
    key: {
      type: 'object',
      additionalProperties: false,
      properties: { id: { type: 'string' }, value: { type: 'string', 'x-secret': true } },
    },
  },
};

test('[OPS-02] the effective configuration is printed with its secrets masked', () => {
  const key = { id: 'a', value: 'hunter2' };
  const text = describeConfig(
    { store: 'redis://app:hunter2@db:6379', pin: 'hunter2', keys: [key], byName: { x: key } },
    SCHEMA,
  );
  assert.doesNotMatch(text, /hunter2/);
  assert.match(text, /^store: redis:\/\/app:\[masked:secret\]@db:6379$/m);
  assert.doesNotMatch(describeConfig({ store: 'redis://app:hun@ter2@db' }, SCHEMA), /ter2/);
  assert.match(text, /^pin: "\[masked:secret\]"$/m);
  assert.match(text, /^ {2}x:\n {4}id: a\n {4}value: "\[masked/m);
});

test('[HOST-13] the digest depends on the settings and not on their order', () => {
  const digest = configDigest({ a: 1, b: { c: [1, 2], d: 'x' } });
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  assert.equal(configDigest({ b: { d: 'x', c: [1, 2] }, a: 1 }), digest);
  assert.notEqual(configDigest({ b: { d: 'x', c: [2, 1] }, a: 1 }), digest);
});

const readFile = async (path: string) => {
  if (path === '/run/key') return 'hunter2\n';
  throw new Error(`ENOENT: ${path}`);
};

test('[OPS-02] a secret is read from where its reference says', async () => {
  const sources = { env: { KEY: 'hunter3', EMPTY: '' }, readFile };
  assert.equal(await resolveSecret({ file: '/run/key' }, sources), 'hunter2');
  assert.equal(await resolveSecret({ env: 'KEY' }, sources), 'hunter3');
  for (const ref of [{ env: 'EMPTY' }, { env: 'ABSENT' }, { file: '/run/absent' }]) {
    await assert.rejects(resolveSecret(ref, sources), { id: 'config.invalid' });
  }
});
