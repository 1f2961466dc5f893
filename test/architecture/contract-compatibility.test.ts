import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorFaults, metricFaults, schemaFault } from '../../scripts/contract-compatibility.ts';

const RELEASED = {
  type: 'object',
  additionalProperties: false,
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 64 },
    effect: { enum: ['allow', 'deny'] },
    note: { type: 'string' },
  },
};

const { name, effect, note } = RELEASED.properties;

test('[OPS-06] a schema may grow an optional property and a new choice', () => {
  const grown = {
    ...RELEASED,
    properties: { name, note, effect: { enum: ['allow', 'deny', 'ask'] }, tag: { type: 'string' } },
  };
  assert.equal(schemaFault(RELEASED, grown), undefined);
  assert.equal(schemaFault(RELEASED, { ...RELEASED, $id: 'https://example.invalid/x' }), undefined);
});

const breaking = {
  'a new required property': { ...RELEASED, required: ['name', 'note'] },
  'a property that is gone': { ...RELEASED, properties: { name, effect } },
  'a choice that is gone': { ...RELEASED, properties: { name, note, effect: { enum: ['allow'] } } },
  'a lower bound on a length': {
    ...RELEASED,
    properties: { effect, note, name: { type: 'string', maxLength: 8 } },
  },
  'a required property that is gone': { ...RELEASED, properties: { effect, note } },
};

for (const [change, current] of Object.entries(breaking)) {
  test(`[OPS-06] ${change} is a breaking change of a schema`, () => {
    assert.match(schemaFault(RELEASED, current) ?? 'compatible', /^it refuses/);
  });
}

test('[OPS-06] metrics and their labels, and error ids, may be added but not removed', () => {
  const metrics = (labels: object) => ({ counters: { zl_calls_total: { labels } } });
  assert.deepEqual(metricFaults(metrics({ tool: {} }), metrics({ tool: {}, outcome: {} })), []);
  assert.deepEqual(metricFaults(metrics({ tool: {} }), metrics({})), [
    'metric zl_calls_total lost its label tool',
  ]);
  assert.deepEqual(metricFaults(metrics({}), {}), [
    'metric zl_calls_total is gone from the counters',
  ]);
  assert.deepEqual(errorFaults({ 'a.b': {} }, { 'a.b': {}, 'a.c': {} }), []);
  assert.deepEqual(errorFaults({ 'a.b': {} }, {}), ['error a.b is gone']);
});
