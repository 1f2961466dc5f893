import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PlanReader } from './plan-reader.ts';

function read(...deltas: readonly string[]) {
  const reader = new PlanReader();
  const shown = [...deltas.map((delta) => reader.push(delta)), reader.end()];
  return { shown, text: shown.join(''), calls: reader.calls, fault: reader.fault };
}

const READ = { tool: 'fs.read', arguments: { path: 'a.txt' } };

/** The text in pieces of any length. */
const pieces = (text: string) =>
  fc.array(fc.nat({ max: text.length }), { maxLength: 12 }).map((cuts) => {
    const at = [0, ...cuts.sort((a, b) => a - b), text.length];
    return at.slice(1).map((end, index) => text.slice(at[index], end));
  });

test('[HOST-08] however a plan is written and cut, its answer is shown and its calls are read', () => {
  const answers = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }));
  const names = fc.stringMatching(/^[a-z]+\.[a-z]+$/);
  const calls = fc.array(
    fc.record({ tool: names, arguments: fc.dictionary(fc.string(), fc.jsonValue()) }),
    { maxLength: 4 },
  );
  const wrapped = fc.constantFrom(
    (json: string) => json,
    (json: string) => `\n  ${json}\n`,
    (json: string) => `\`\`\`json\n${json}\n\`\`\`\nIt says that all is well.`,
    (json: string) => `\`\`\`\n${json}\n\`\`\``,
  );
  const written = fc.record({ plan: fc.record({ answer: answers, calls }), wrap: wrapped });
  const cases = written.chain(({ plan, wrap }) => {
    // As a model may as well write it: on several lines, and with every character escaped.
    const texts = [JSON.stringify(plan), JSON.stringify(plan, null, 2), escaped(plan)];
    return fc.tuple(
      fc.constant(plan),
      fc.constantFrom(...texts).chain((t) => pieces(wrap(t))),
    );
  });
  fc.assert(
    fc.property(cases, ([plan, deltas]) => {
      const { shown, text, ...rest } = read(...deltas);
      assert.equal(text, plan.answer.toWellFormed());
      assert.ok(shown.every((each) => each.isWellFormed()));
      const told = JSON.parse(JSON.stringify(plan.calls));
      assert.deepEqual(rest, { calls: told, fault: undefined });
    }),
  );
});

function escaped(plan: { readonly answer: string }): string {
  const units = [...Array(plan.answer.length).keys()].map((index) =>
    plan.answer.charCodeAt(index).toString(16).padStart(4, '0'),
  );
  const answer = units.map((unit) => `\\u${unit}`).join('');
  return JSON.stringify(plan).replace(JSON.stringify(plan.answer), () => `"${answer}"`);
}

test('[HOST-08] text that holds no plan is shown as it is, code and JSON included', () => {
  const lines = fc.constantFrom(
    ...['Hello.', '', '```', '```json', '{"a": 1}', '  {', '}', '{{', '`x`', '{"a": "}"}', '{]'],
  );
  const texts = fc.array(lines, { maxLength: 12 }).map((all) => all.join('\n'));
  const cases = texts.chain((text) => fc.tuple(fc.constant(text), pieces(text)));
  fc.assert(
    fc.property(cases, ([text, deltas]) => {
      assert.deepEqual(
        { ...read(...deltas), shown: [] },
        { shown: [], text, calls: [], fault: undefined },
      );
    }),
  );
});

test('[HOST-08] shows an answer as it arrives, before the plan is complete', () => {
  const { shown } = read('{"answer": "Read', 'ing it\\', 'n", "calls"', ': []}');
  assert.deepEqual(shown, ['Read', 'ing it', '\n', '', '']);
  assert.deepEqual(read('I', ' read', ' it.').shown, ['I', ' read', ' it.', '']);
});

test('[HOST-08] takes the calls of every plan in a reply, and shows nothing that follows one', () => {
  const plan = JSON.stringify({ calls: [READ] });
  const { text, calls } = read(
    `I read both.\n\`\`\`json\n${plan}\n\`\`\`\nThen\n${plan}\nDone: x.`,
  );
  assert.equal(text, 'I read both.\n');
  assert.deepEqual(calls, [READ, READ]);
});

const UNREADABLE: readonly (readonly [what: string, text: string, fault: RegExp])[] = [
  ['has no end', '{"answer": "x", "calls": [{"tool": "fs.re', /ends before the object does/],
  ['is not JSON', '{\'calls\': [], "calls": [],}', /cannot be parsed/],
  ['has other members', '{"calls": [], "thought": "hm"}', /thought is not a known field/],
  ['is a call by itself', '{"tool": "fs.read", "arguments": {}}', /is wrong/],
  ['has calls without names', '{"calls": [{"arguments": {}}]}', /tool/],
  ['has arguments that are a text', '{"calls": [{"tool": "a", "arguments": "{}"}]}', /arguments/],
  ['nests 10,000 deep', `{"calls": ${'['.repeat(10_000)}`, /nests more than 64 deep/],
  ['has 10 MB of arguments', `{"calls": [{"tool": "${'x'.repeat(1e7)}`, /longer than 1048576/],
];

for (const [what, text, fault] of UNREADABLE) {
  test(`[HOST-08] refuses a plan that ${what}, and quotes little of it`, () => {
    const half = text.length / 2;
    const result = read(text.slice(0, half), text.slice(half));
    assert.match(result.fault ?? '', fault);
    assert.ok((result.fault ?? '').length < 1000);
    assert.ok(!result.text.includes('{'));
  });
}

test('[HOST-08] an answer that is cut at the limit of the model stays an answer', () => {
  const { text, fault } = read('{"answer": "Once upon');
  assert.deepEqual([text, fault], ['Once upon', undefined]);
});
