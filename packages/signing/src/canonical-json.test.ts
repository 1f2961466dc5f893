import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  canonicalJson,
  canonicalText,
  digestOf,
  digestOfBytes,
  MAX_VALUE_DEPTH,
} from './canonical-json.ts';

// -0 has no spelling of its own in RFC 8785.
const json = () => fc.jsonValue({ noUnicodeString: false, maxDepth: 6 }).map(withoutMinusZero);

test('canonical text parses back to the same value', () => {
  fc.assert(fc.property(json(), (value) => assert.deepEqual(parse(value), value)));
});

test('canonical text is already canonical', () => {
  fc.assert(
    fc.property(json(), (value) => {
      assert.equal(canonicalText(parse(value)), canonicalText(value));
    }),
  );
});

test('the order of members in the source does not matter', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), json()), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).reverse());
      assert.equal(digestOf(reversed), digestOf(value));
    }),
  );
});

test('numbers are written as in RFC 8785 appendix B', () => {
  const examples: [bigint, string][] = [
    [0x0000000000000000n, '0'],
    [0x8000000000000000n, '0'],
    [0x0000000000000001n, '5e-324'],
    [0x8000000000000001n, '-5e-324'],
    [0x7fefffffffffffffn, '1.7976931348623157e+308'],
    [0xffefffffffffffffn, '-1.7976931348623157e+308'],
    [0x4340000000000000n, '9007199254740992'],
    [0xc340000000000000n, '-9007199254740992'],
    [0x4430000000000000n, '295147905179352830000'],
    [0x44b52d02c7e14af5n, '9.999999999999997e+22'],
    [0x44b52d02c7e14af6n, '1e+23'],
    [0x44b52d02c7e14af7n, '1.0000000000000001e+23'],
    [0x444b1ae4d6e2ef4en, '999999999999999700000'],
    [0x444b1ae4d6e2ef4fn, '999999999999999900000'],
    [0x444b1ae4d6e2ef50n, '1e+21'],
    [0x3eb0c6f7a0b5ed8cn, '9.999999999999997e-7'],
    [0x3eb0c6f7a0b5ed8dn, '0.000001'],
    [0x41b3de4355555553n, '333333333.3333332'],
    [0x41b3de4355555557n, '333333333.33333343'],
    [0xbecbf647612f3696n, '-0.0000033333333333333333'],
    [0x43143ff3c1cb0959n, '1424953923781206.2'],
  ];
  for (const [bits, text] of examples) {
    assert.equal(canonicalText(new Float64Array(new BigUint64Array([bits]).buffer)[0]), text);
  }
});

test('strings, literals and member order follow the examples of RFC 8785 section 3.2', () => {
  const value = JSON.parse(
    '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],' +
      '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
  );
  assert.equal(
    canonicalText(value),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
      '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  const names = { '€': 1, '\r': 2, '\ufb33': 3, '1': 4, '😀': 5, '\u0080': 6, ö: 7 };
  assert.equal(canonicalText(names), '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
});

test('values that JSON cannot express are refused, and the message says where they are', () => {
  const refused: [unknown, RegExp][] = [
    [undefined, /the value is undefined/],
    [{ a: undefined }, /\/a is undefined/],
    [[1, undefined], /\/1 is undefined/],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    [[1, , 2], /\/1 is undefined/],
    [{ a: { b: Number.NaN } }, /\/a\/b is NaN/],
    [Number.POSITIVE_INFINITY, /Infinity/],
    [12n, /bigint/],
    [() => 1, /function/],
    [Symbol('s'), /symbol/],
    ['\ud800', /lone surrogate/],
    [{ '\udfff': 1 }, /lone surrogate/],
    [new Date(0), /plain object/],
    [new Map(), /plain object/],
    [{ toJSON: () => 1 }, /toJSON is function/],
    [new Uint8Array(1), /plain object/],
  ];
  for (const [value, message] of refused) assert.throws(() => canonicalJson(value), { message });
});

test('nesting is bounded, so a cyclic value is refused too', () => {
  let deep: unknown = 1;
  for (let i = 0; i < MAX_VALUE_DEPTH; i++) deep = [deep];
  canonicalJson(deep);
  assert.throws(() => canonicalJson([deep]), { id: 'request.invalid', message: /deeper than 64/ });
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  assert.throws(() => canonicalJson(circle), /deeper/);
});

test('a member named __proto__ counts', () => {
  assert.notEqual(digestOf(JSON.parse('{"__proto__":1}')), digestOf({}));
});

test('a digest is the SHA-256 of the canonical bytes', () => {
  const expected = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
  assert.equal(digestOf({}), expected);
  assert.equal(digestOfBytes(Buffer.from('{}')), expected);
});

function parse(value: unknown): unknown {
  return JSON.parse(Buffer.from(canonicalJson(value)).toString('utf8'));
}

function withoutMinusZero(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
