import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorFaults, metricFaults, schemaFault } from '../../scripts/contract-compatibility.ts';

const released = {
  type: 'object',
  additionalProperties: false,
  required: ['name'],
  properties: {
    name: { type: 'string', maxLength: 64 },
    effect: { enum: ['allow', 'deny'] },
    note: { type: 'string' },
  },
};

const { name, effect, note } = released.properties;

test('[OPS-06] a schema may grow an optional property and a new choice', () => {
  const grown = {
    ...released,
    properties: { name, note, effect: { enum: ['allow', 'deny', 'ask'] }, tag: { type: 'string' } },
  };
  assert.equal(schemaFault(released, grown), undefined);
  assert.equal(schemaFault(released, { ...released, $id: 'https://example.invalid/x' }), undefined);
});

const breaking = {
  'a new required property': { ...released, required: ['name', 'note'] },
  'a property that is gone': { ...released, properties: { name, effect } },
  'a choice that is gone': { ...released, properties: { name, note, effect: { enum: ['allow'] } } },
  'a lower bound on a length': {
    ...released,
    properties: { effect, note, name: { type: 'string', maxLength: 8 } },
  },
  'a required property that is gone': { ...released, properties: { effect, note } },
};

for (const [change, current] of Object.entries(breaking)) {
  test(`[OPS-06] ${change} is a breaking change of a schema`, () => {
    assert.match(schemaFault(released, current) ?? 'compatible', /^it refuses/);
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
