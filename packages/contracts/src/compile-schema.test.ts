import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { compileSchema, prepareSchema } from './compile-schema.ts';

const OBJECT = {
  type: 'object',
  additionalProperties: false,
  required: ['path'],
  properties: {
    path: { type: 'string', minLength: 1, pattern: '^[^\\u0000]+$' },
    encoding: { enum: ['text', 'base64'] },
    length: { type: 'integer', minimum: 1 },
    list: { type: 'array', items: { $ref: '#/$defs/item' } },
    version: { const: 'v1' },
    when: { type: 'string', format: 'date-time' },
    either: {
      anyOf: [
        { type: 'object', required: ['a'], properties: { a: { type: 'integer' } } },
        { type: 'null' },
      ],
    },
  },
  $defs: { item: { type: 'object', properties: { 'a/b': { type: 'boolean' } } } },
};

test('[TOOL-02] an error names the failing field, as a pointer and in words', () => {
  const { validate } = compileSchema(OBJECT, 'contract');
  const cases: [unknown, string, string][] = [
    [{ path: 1 }, '/path', 'path must be string'],
    [{}, '/path', 'path is required'],
    [{ path: 'x', colour: 1 }, '/colour', 'colour is not a known field'],
    [{ path: '' }, '/path', 'path must not have fewer than 1 characters'],
    [{ path: 'x', encoding: 'hex' }, '/encoding', 'encoding must be one of text, base64'],
    [{ path: 'x', length: 0 }, '/length', 'length must be >= 1'],
    [{ path: 'x', version: 2 }, '/version', 'version must be "v1"'],
    [{ path: 'x', when: '2026-02-30T00:00:00Z' }, '/when', 'when must match format "date-time"'],
    [{ path: 'x', list: [{}, { 'a/b': 1 }] }, '/list/1/a~1b', 'list.1.a/b must be boolean'],
    [{ path: 'x', either: { a: 'x' } }, '/either/a', 'either.a must be integer'],
    [{ path: 'x', either: 3 }, '/either', 'either has none of the allowed forms'],
    [[], '', 'the value must be object'],
    [undefined, '', 'the value must be object'],
  ];
  for (const [value, field, message] of cases) {
    assert.deepEqual(validate(value).error, { field, message });
  }
  assert.deepEqual(validate({ path: 'x' }), { value: { path: 'x' } });
});

test('validating changes no value and never throws', () => {
  const { validate } = compileSchema(
    { ...OBJECT, properties: { path: { default: 'x' } } },
    'contract',
  );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const before = structuredClone(value);
      validate(value);
      assert.deepEqual(value, before);
    }),
  );
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  assert.match(validate(deep).error?.message ?? '', /nested deeper/);
});

test('a long name in a hostile value is cut in the message', () => {
  const { error } = compileSchema(OBJECT, 'contract').validate({
    path: 'x',
    ['y'.repeat(1 << 20)]: 1,
  });
  assert.ok((error?.message.length ?? 0) < 200 && (error?.field.length ?? 0) < 200);
});

test('a long list of choices is cut in the message, and each choice is shown as it is', () => {
  const choices = Array.from({ length: 5_000 }, (_, i) => ({ choice: i }));
  const { error } = compileSchema({ enum: choices }, 'catalog').validate('none');
  assert.match(error?.message ?? '', /^the value must be one of {"choice":0}, {"choice":1}, /);
  assert.ok((error?.message.length ?? 0) < 1_100);
});

test('[TOOL-02] a schema that is too large, too deep or too wide is refused', () => {
  let deep: object = { type: 'string' };
  for (let i = 0; i < 40; i++) deep = { not: deep };
  const patterns = Object.fromEntries(
    Array.from({ length: 8 }, (_, i) => [`p${i}`, { type: 'string', pattern: `${i}{700,}` }]),
  );
  const doubling = {
    $defs: { d0: { type: 'string' } } as Record<string, object>,
    $ref: '#/$defs/d30',
  };
  for (let i = 1; i <= 30; i++) {
    const $ref = `#/$defs/d${i - 1}`;
    doubling.$defs[`d${i}`] = { allOf: [{ $ref }, { $ref }] };
  }
  refused(deep, /nested deeper than 32/);
  const names = Object.keys(properties(1_000, true));
  for (const wide of [
    { type: 'object', properties: properties(500, { type: 'null' }) },
    { type: 'object', properties: properties(1_000, true) },
    { dependentRequired: { a: names } },
    { type: names },
  ]) {
    assert.throws(() => compileSchema(wide, 'catalog'), TOO_MANY_PARTS);
  }
  refused({ description: 'x'.repeat(200_000) }, /larger than 131072 bytes/);
  refused(doubling, /expands to more than 10000/);
  refused({ type: 'object', properties: patterns }, /pattern too many/);
  const { $ref, $defs } = doubling;
  refused({ type: 'object', dependencies: { a: { $ref } }, $defs }, /expands to more than 10000/);
  refused({ type: 'array', uniqueItems: true, items: {} }, /uniqueItems without maxItems/);
});

test('[TOOL-02] a schema at a limit is accepted, and one beyond it refused', () => {
  const nested = (levels: number): object =>
    levels === 0 ? { type: 'string' } : { not: nested(levels - 1) };
  compileSchema(nested(32), 'contract');
  refused(nested(33), /nested deeper than 32/);
  // The schema, its two keywords, and properties.
  compileSchema({ type: 'object', properties: properties(997, true) }, 'catalog');
  const wide = { type: 'object', properties: properties(998, true) };
  assert.throws(() => compileSchema(wide, 'catalog'), TOO_MANY_PARTS);
  compileSchema(wide, 'contract');
  refused({ type: 'object', properties: properties(7_998, true) }, /more than 8000 subschemas/);
  const large = (bytes: number) => ({
    description: 'x'.repeat(bytes - '{"description":""}'.length),
  });
  compileSchema(large(131_072), 'contract');
  refused(large(131_073), /larger than 131072 bytes/);
  // 1 + 99 references, each with the 1 + 99 of what it refers to.
  const expanded = (more: object) => ({
    $defs: { hundred: { allOf: Array.from({ length: 99 }, () => ({})) } },
    allOf: Array.from({ length: 99 }, () => ({ $ref: '#/$defs/hundred' })),
    ...more,
  });
  compileSchema(expanded({}), 'contract');
  refused(expanded({ not: false }), /expands to more than 10000/);
});

test('[TOOL-02] the largest schemas that are accepted compile in bounded time, whatever their shape', () => {
  const list = (count: number, make: (i: number) => unknown) =>
    Array.from({ length: count }, (_, i) => make(i));
  const small = { type: 'object', properties: properties(24, { type: 'string' }) };
  const $ref = '#/$defs/a';
  const shapes = {
    properties: { type: 'object', properties: properties(498, { type: 'string' }) },
    closed: { additionalProperties: false, properties: properties(498, { type: 'string' }) },
    patterns: { patternProperties: properties(498, { type: 'string' }) },
    choices: { oneOf: list(498, () => ({ minLength: 1 })) },
    branches: { allOf: list(165, () => ({ if: { minLength: 1 }, else: true })) },
    contained: { allOf: list(249, () => ({ contains: { type: 'string' } })) },
    inlined: {
      $defs: { a: { type: 'object', properties: properties(20, true) } },
      allOf: list(450, () => ({ $ref })),
    },
    unevaluated: {
      unevaluatedProperties: false,
      allOf: list(240, (i) => ({ properties: { [`p${i}`]: { type: 'string' } } })),
    },
    required: { allOf: list(498, () => ({ required: list(20, (i) => `q${i}`) })) },
    enums: { allOf: list(498, () => ({ enum: list(60, (i) => i) })) },
  };
  const compile = (schema: unknown) => () => void compileSchema(schema, 'catalog');
  compile(small)();
  const unitMs = Math.min(...Array.from({ length: 5 }, () => cpuMsOf(compile(small))));
  for (const [shape, schema] of Object.entries(shapes)) {
    const ratio = cpuMsOf(compile(schema)) / unitMs;
    assert.ok(ratio < 400, `${shape}: ${ratio} times a schema of 50 parts`);
  }
});

test('[TOOL-02] a long enum is read in linear time in every draft', () => {
  const choices = Array.from({ length: 10_000 }, (_, i) => ({ i }));
  const read = (schema: object) => cpuMsOf(() => void prepareSchema(schema, 'catalog'));
  read({ items: [true] });
  read({ enum: [0] });
  const ratio = read({ items: [true], enum: choices }) / read({ enum: choices });
  assert.ok(ratio < 20, `${ratio} times 2020-12`);
});

test('[TOOL-02] references to other documents and to themselves are refused', () => {
  refused({ $ref: 'https://example.com/schema.json' }, /only #\/\.\.\. inside/);
  refused({ $ref: 'other.json#/a' }, /only #/);
  refused({ $ref: '#anchor' }, /only #/);
  refused({ $ref: '#/$defs/none' }, /does not exist/);
  refused({ $ref: '#/$defs/0', $defs: {} }, /does not exist/);
  refused({ $ref: '#/allOf/length', allOf: [true] }, /does not exist/);
  refused({ $ref: '#' }, /refers to itself/);
  refused({ type: 'object', properties: { next: { $ref: '#' } } }, /refers to itself/);
  refused({ $dynamicRef: '#x' }, /\$dynamicRef/);
  refused({ $async: true }, /\$async/);
  refused(
    { type: 'object', properties: { a: { $id: 'https://example.com/b' } } },
    /\$id of its own/,
  );
});

test('[TOOL-02] a pattern without a linear-time match is refused wherever it stands', () => {
  refused({ type: 'string', pattern: '^(?=a)' }, /at \/pattern .* looks ahead/);
  refused({ type: 'object', patternProperties: { '(a)\\1': {} } }, /patternProperties .* back/);
  refused({ $defs: { unused: { type: 'string', pattern: '(?<!a)b' } } }, /looks ahead/);
});

test('[TOOL-02] a pattern that would take a backtracking engine forever answers', () => {
  const { validate } = compileSchema({ type: 'string', pattern: '^(a+)+$' }, 'contract');
  assert.ok(validate('a'.repeat(50_000)).value);
  assert.equal(validate(`${'a'.repeat(50_000)}!`).error?.field, '');
});

test('a text too long for its pattern is refused without being tried', () => {
  const { validate } = compileSchema({ type: 'string', pattern: '^[a-z]{1000}' }, 'contract');
  assert.ok(validate('a'.repeat(4096)).value);
  assert.ok(validate('a'.repeat(1 << 20)).error);
});

test('a contract with unknown keywords, formats or drafts is refused', () => {
  refused({ type: 'string', minLenght: 1 }, /minLenght/);
  refused({ type: 'string', format: 'telephone' }, /telephone/);
  refused({ $schema: 'http://json-schema.org/draft-07/schema#' }, /draft-07/);
  refused({ type: 'strin' }, /type/);
  refused('string', /./);
});

test('two schemas with the same $id do not interfere, and a boolean is a schema', () => {
  const $id = 'https://example.com/same';
  const text = compileSchema({ $id, type: 'string' }, 'contract');
  const count = compileSchema({ $id, type: 'integer' }, 'contract');
  assert.equal(text.validate('x').value, 'x');
  assert.equal(count.validate(3).value, 3);
  assert.ok(compileSchema(false, 'contract').validate(1).error);
});

const TOO_MANY_PARTS = /more than 1000 subschemas and keywords/;

function properties(count: number, schema: unknown): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]));
}

function cpuMsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function refused(schema: unknown, message: RegExp): void {
  assert.throws(() => compileSchema(schema, 'contract'), { id: 'config.invalid', message });
}

test('the schemas of this program, which a start does not check, are valid', () => {
  const folder = join(import.meta.dirname, '../../../contracts');
  const files = globSync('**/*.schema.json', { cwd: folder });
  assert.ok(files.length > 15);
  const ajv = new Ajv2020({ strict: false, logger: false });
  for (const file of files) {
    const schema = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    assert.equal(ajv.validateSchema(schema), true, `${file}: ${ajv.errorsText()}`);
  }
});
