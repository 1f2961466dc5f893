import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileSchema } from './compile-schema.ts';
import { MAX_UNIQUE_ITEMS } from './schema-limits.ts';

function catalog(schema: unknown) {
  return compileSchema(schema, 'catalog').validate;
}

test('[TOOL-02] a schema with vendor keywords, unknown formats and annotations validates', () => {
  const validate = catalog({
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: 'https://example.com/search',
    $comment: 'made by a generator',
    type: 'object',
    title: 'search_issuesArguments',
    'x-mcp-header': 'Authorization',
    additionalProperties: false,
    required: ['query'],
    properties: {
      query: { title: 'Query', type: 'string', format: 'search-query', examples: 'is:open' },
      limit: { type: 'integer', format: 'uint32', minimum: 0, default: 10, deprecated: 'soon' },
      since: { anyOf: [{ type: 'string', format: 'date-time' }, { type: 'null' }], default: null },
      cursor: { type: 'string', nullable: true },
      label: { nullable: true, enum: ['a', null] },
      tags: { type: 'array', items: { $id: 'tag', type: 'string' }, uniqueItems: true },
      nested: { type: 'object', properties: { $schema: { type: 'string' } } },
    },
  });
  const value = { query: 'q', limit: 3, since: null, cursor: null, label: null, tags: ['a', 'b'] };
  assert.deepEqual(validate(value), { value });
  assert.equal(validate({ query: 1 }).error?.message, 'query must be string');
  assert.equal(validate({ query: 'q', limit: -1 }).error?.field, '/limit');
  assert.equal(validate({ query: 'q', since: 'today' }).error?.field, '/since');
  assert.equal(validate({ query: 'q', tags: ['a', 'a'] }).error?.field, '/tags');
  assert.equal(validate({ query: 'q', colour: 1 }).error?.message, 'colour is not a known field');
});

test('[TOOL-02] schemas as Python, zod and Rust generators write them validate', () => {
  const pydantic = catalog({
    $defs: { Level: { enum: ['low', 'high'], title: 'Level', type: 'string' } },
    properties: { level: { $ref: '#/$defs/Level', default: 'low', description: 'How much' } },
    title: 'set_levelArguments',
    type: 'object',
  });
  assert.ok(pydantic({ level: 'high' }).value);
  assert.equal(pydantic({ level: 'most' }).error?.field, '/level');

  const zod = catalog({
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    properties: { range: { type: 'array', items: [{ type: 'number' }, { type: 'number' }] } },
  });
  assert.ok(zod({ range: [1, 2] }).value);
  assert.equal(zod({ range: [1, 'x'] }).error?.field, '/range/1');

  const schemars = catalog({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    definitions: { Port: { type: 'integer', format: 'uint16', minimum: 0, maximum: 65535 } },
    properties: { port: { allOf: [{ $ref: '#/definitions/Port' }] }, any: true },
  });
  assert.ok(schemars({ port: 80, any: {} }).value);
  assert.equal(schemars({ port: 70_000 }).error?.field, '/port');
});

test('[TOOL-02] a schema is read by the draft it names, and by 2020-12 where it names none', () => {
  const tuple = { type: 'array', prefixItems: [{ type: 'string' }] };
  const draft = (name: string) => ({ $schema: `http://json-schema.org/${name}/schema#`, ...tuple });
  for (const schema of [tuple, draft('draft/2020-12')]) {
    assert.equal(catalog(schema)([1]).error?.field, '/0');
  }
  // In draft 7 nothing has the name prefixItems.
  assert.deepEqual(catalog(draft('draft-07'))([1]).value, [1]);
});

test('a pattern with needless escapes is accepted', () => {
  const validate = catalog({
    type: 'object',
    properties: { date: { type: 'string', pattern: '^\\d{4}\\-\\d{2}$' } },
    patternProperties: { '^x_[\\w-.]+\\:\\\\-$': { type: 'integer' } },
    additionalProperties: false,
  });
  assert.ok(validate({ date: '2026-11', 'x_a.b-c:\\-': 1 }).value);
  assert.ok(validate({ date: '202611' }).error);
  assert.ok(validate({ 'x_a:\\-': 'one' }).error);
});

test('[TOOL-02] a catalog schema has the bounds of a contract and no outside references', () => {
  refused({ $ref: 'https://example.com/schema.json' }, /only #\/\.\.\. inside/);
  refused({ $ref: '#' }, /refers to itself for the same value/);
  refused(
    {
      $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }] }, b: { not: { $ref: '#/$defs/a' } } },
      properties: { b: { $ref: '#/$defs/b', properties: { b: { $ref: '#/$defs/b' } } } },
    },
    /refers to itself for the same value/,
  );
  refused({ enum: [{ pattern: '(a+)+' }], $ref: '#/enum/0' }, /not a schema/);
  refused({ $ref: '#/x-parts/a', 'x-parts': { a: {} } }, /does not exist/);
  refused({ $dynamicRef: '#x' }, /\$dynamicRef/);
  refused({ type: 'string', pattern: '^(?!a)' }, /looks ahead/);
  refused({ items: [{ pattern: '(a)\\1' }] }, /at \/items\/0\/pattern/);
  refused({ type: 'strin' }, /type/);
  refused({ properties: [] }, /properties/);
  refused([], /schema/);
});

test('[TOOL-02] a tree of values validates by a schema that refers to itself', () => {
  const tree = catalog({
    $defs: {
      Node: {
        type: 'object',
        required: ['name'],
        properties: {
          name: { type: 'string', pattern: '^[a-z]+$' },
          children: { type: 'array', items: { $ref: '#/$defs/Node' } },
        },
      },
    },
    $ref: '#/$defs/Node',
  });
  const leaves = Array.from({ length: 2_000 }, () => ({ name: 'leaf' }));
  assert.ok(tree({ name: 'root', children: [{ name: 'branch', children: leaves }] }).value);
  const { error } = tree({ name: 'root', children: [{ name: 'branch', children: [{ name: 1 }] }] });
  assert.equal(error?.field, '/children/0/children/0/name');

  const filter = catalog({
    anyOf: [
      { type: 'object', required: ['and'], properties: { and: { items: { $ref: '#' } } } },
      { type: 'object', required: ['not'], properties: { not: { $ref: '#' } } },
      { type: 'object', required: ['is'], properties: { is: { type: 'string' } } },
    ],
  });
  assert.ok(filter({ and: [{ not: { is: 'open' } }, { is: 'mine' }] }).value);
  assert.ok(filter({ and: [{ not: { is: 1 } }] }).error);
});

test('[TOOL-02] a schema that doubles its work at each level of a value gives up', () => {
  const a = { properties: { a: { $ref: '#' } } };
  for (const schema of [
    { type: ['object', 'string'], allOf: [a, a] },
    { type: ['object', 'string'], minLength: 2, anyOf: [a, a] },
    {
      oneOf: [
        { allOf: [a, { type: 'object', required: ['b'] }] },
        { allOf: [a, false] },
        { type: 'string' },
      ],
    },
  ]) {
    let value: unknown = 'x';
    for (let level = 0; level < 60; level++) value = { a: value };
    const { error } = catalog(schema)(value);
    assert.match(error?.message ?? '', /too large for a schema that refers to itself/);
    assert.ok(catalog(schema)('long').value, 'and the next value has the whole budget');
  }
});

test('[TOOL-02] a value may use up all steps of a schema that refers to itself, and no more', () => {
  // Four subschemas, so that a value may weigh 2 ** 20, and each 16 characters of text weigh 1.
  const schema = { properties: { a: { $ref: '#' }, b: true } };
  const weighing = (weight: number) => ({ b: 'x'.repeat((weight - 2) * 16 - 'b'.length) });
  assert.ok(catalog(schema)(weighing(2 ** 20)).value);
  const { error } = catalog(schema)(weighing(2 ** 20 + 1 / 16));
  assert.match(error?.message ?? '', /too large for a schema that refers to itself/);
});

test('[TOOL-02] a schema with many lists of unique objects is refused', () => {
  const unique = { uniqueItems: true, items: { type: 'object' } };
  refused({ allOf: Array.from({ length: 150 }, () => unique) }, /expands to more than 10000/);
});

test('unique objects are compared up to a bound, and unique scalars without one', () => {
  const many = Array.from({ length: MAX_UNIQUE_ITEMS + 1 }, (_, id) => ({ id }));
  const objects = catalog({ type: 'array', uniqueItems: true, items: { type: 'object' } });
  assert.ok(objects(many.slice(1)).value);
  assert.ok(objects([{ id: 1 }, { id: 1 }]).error);
  assert.match(objects(many).error?.message ?? '', /more than 1000 items/);
  const scalars = catalog({ type: 'array', uniqueItems: true, items: { type: 'integer' } });
  assert.ok(scalars(many.map(({ id }) => id)).value);
});

function refused(schema: unknown, message: RegExp): void {
  assert.throws(() => compileSchema(schema, 'catalog'), { id: 'config.invalid', message });
}
