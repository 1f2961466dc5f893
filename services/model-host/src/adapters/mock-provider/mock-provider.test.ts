import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { user } from '../../../test/support/replies.ts';
import type { ModelMessage, ModelPart, ModelRequest } from '../../providers/port.ts';
import { mockProvider } from './mock-provider.ts';
import { openScript, parseScript } from './script.ts';

const defaultScript = await openScript('');
const FS_READ = { name: 'fs.read', description: 'reads a file', inputSchema: {} };

function request(messages: readonly ModelMessage[], tools = [FS_READ]): ModelRequest {
  return { tenant: 'north', model: 'm', system: '', messages, tools, maxOutputTokens: 1000 };
}

async function play(messages: readonly ModelMessage[], tools = [FS_READ]): Promise<ModelPart[]> {
  const parts: ModelPart[] = [];
  const provider = mockProvider(defaultScript);
  const { signal } = new AbortController();
  for await (const part of provider.stream(request(messages, tools), signal)) parts.push(part);
  return parts;
}

function textOf(parts: readonly ModelPart[]): string {
  return parts.map((part) => (part.type === 'text-delta' ? part.delta : '')).join('');
}

function callsOf(parts: readonly ModelPart[]): unknown[] {
  return parts.flatMap((part) => (part.type === 'tool-call' ? [JSON.parse(part.input)] : []));
}

const says = (text: string) => play([user(text)]);

test('[PROV-01] the mock model greets, echoes and introduces itself', async () => {
  assert.match(textOf(await says('Hello there')), /^Hello! I am the mock model/);
  assert.match(textOf(await says('what is 6 x 7?')), /You said: “what is 6 x 7\?”.*mock model/s);
});

test('calls fs.read with the named path or the welcome file when asked to read', async () => {
  assert.deepEqual(callsOf(await says('Please read the welcome file')), [{ path: 'welcome.txt' }]);
  assert.deepEqual(callsOf(await says('what does it say? open the file')), [
    { path: 'welcome.txt' },
  ]);
  assert.deepEqual(callsOf(await says('read notes/todo.md, please')), [{ path: 'notes/todo.md' }]);
  assert.deepEqual(callsOf(await says('show me "/etc/hosts"')), [{ path: '/etc/hosts' }]);
  assert.deepEqual(callsOf(await says('cat ../secret.txt')), [{ path: '../secret.txt' }]);
  assert.deepEqual(callsOf(await says('read a.txt and then b.txt')), [
    { path: 'a.txt' },
    { path: 'b.txt' },
  ]);
  assert.deepEqual(callsOf(await says('should I read War and Peace?')), []);
});

test('answers in text when no tools are offered', async () => {
  const parts = await play([user('read the welcome file')], []);
  assert.deepEqual(callsOf(parts), []);
  assert.match(textOf(parts), /no device whose tools I may use/);
});

test('quotes the content after a tool call, and the error after a failed one', async () => {
  const asked: ModelMessage[] = [user('read the welcome file'), { role: 'assistant', content: [] }];
  const answer = (type: 'text' | 'error-text', value: string): ModelMessage => ({
    role: 'tool',
    content: [
      { type: 'tool-result', toolCallId: 'c', toolName: 'fs.read', output: { type, value } },
    ],
  });
  const good = answer('text', '{"path":"welcome.txt","content":"It works."}');
  const bad = answer('error-text', 'fs.not_found: no such file');
  const quoted = textOf(await play([...asked, good]));
  assert.match(quoted, /It works\./);
  assert.doesNotMatch(quoted, /welcome\.txt"/);
  assert.match(textOf(await play([...asked, bad])), /fs\.not_found: no such file/);
});

test('answers any text, and the same text the same way', async () => {
  const provider = mockProvider({
    rules: defaultScript.rules.map((rule) => ({
      ...rule,
      // Without the pauses that make it look alive.
      reply: rule.reply.map((part) =>
        'text' in part && typeof part.text === 'object' ? { text: part.text.value } : part,
      ),
    })),
  });
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1, unit: 'grapheme' }), async (text) => {
      const answers = [];
      for (let round = 0; round < 2; round += 1) {
        const parts: ModelPart[] = [];
        const asked = request([user(text)]);
        for await (const part of provider.stream(asked, new AbortController().signal))
          parts.push(part);
        answers.push(parts);
      }
      assert.deepEqual(answers[0], answers[1]);
      assert.equal(answers[0]?.at(-1)?.type, 'finish');
    }),
    { numRuns: 50 },
  );
});

test('refuses a wrong script and names the line', () => {
  const refused = (text: string, expected: RegExp) =>
    assert.throws(
      () => parseScript(text, 'script.yaml'),
      (error) =>
        error instanceof ZlError && error.id === 'config.invalid' && expected.test(error.message),
    );
  const head = 'schema: zerolatency.mock-script/v1\nrules:\n';
  refused(`${head}- reply: [{ text: [1 }]`, /line 3/);
  refused(
    `${head}- reply: [{ text: a }]\n- when: { txet: a }\n  reply: [{ text: a }]`,
    /line 4: .*txet/,
  );
  refused(`${head}- reply:\n  - text: a\n  - fly: true`, /line 5/);
  refused(
    `${head}- reply: [{ text: a }]\n- when:\n    text: '('\n  reply: [{ text: a }]`,
    /line 5: .*regular expression/,
  );
  refused(`${head}- reply: [{ text: '{{nobody}}' }]`, /line 3: .*nobody/);
  refused('rules: []', /line 1/);
});

test('a hanging reply ends when it is aborted', async () => {
  const script = parseScript(
    'schema: zerolatency.mock-script/v1\nrules: [{ reply: [{ hang: true }] }]',
    's',
  );
  const stop = new AbortController();
  const parts = mockProvider(script).stream(request([user('x')]), stop.signal);
  const next = parts[Symbol.asyncIterator]().next();
  stop.abort(new ZlError('turn.cancelled', 'enough'));
  await assert.rejects(next, /enough/);
});
