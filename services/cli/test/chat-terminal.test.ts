import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { CANCELLED, DONE, type FakeTurn, type Script, say, serveHost } from './fake-host.ts';
import { installed } from './installed.ts';
import { type Person, personAt } from './pseudo-terminal.ts';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const UP = '\u001b[A';
const SPINNER = /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/;
/** A program starts, and a slow machine does other things too. */
const PATIENCE = { timeoutMs: 60_000 };
const pasted = (text: string) => `\u001b[200~${text}\u001b[201~`;

function* answer({ start }: FakeTurn) {
  yield say(`heard ${JSON.stringify(start.text)}\n`);
  yield DONE;
}

/** A turn that waits until the test lets it go on. */
function heldTurns() {
  const gate = Promise.withResolvers<void>();
  const script: Script = async function* (turn) {
    if (turn.start.text === 'wait') await gate.promise;
    yield* answer(turn);
  };
  return { script, release: gate.resolve };
}

async function chatting(t: TestContext, script: Script, env: NodeJS.ProcessEnv = {}) {
  const made = await installed(t);
  const host = await serveHost(t, made, script);
  const open = async () => {
    const person = personAt(t, made, { args: ['chat'], env });
    await sees(person, /^›/m);
    return person;
  };
  const texts = () => host.starts.map(({ start }) => start.text);
  return { made, texts, open, person: await open() };
}

async function sees(person: Person, what: RegExp): Promise<void> {
  await eventually(() => what.test(person.sees()), PATIENCE).catch((reason: unknown) => {
    assert.fail(`${reason}: ${what}\n${person.sees()}`);
  });
}

test('[CLI-01] a paste of several lines is shown as it is and sent as one message', async (t) => {
  const { person, texts } = await chatting(t, answer);
  person.type(`so: ${pasted('one\r\n\ttwo\rthree\u001b[2J\n')}`);
  await sees(person, /^› so: one\n\s+two\nthree/m);
  assert.deepEqual(texts(), []);
  person.type('!\r');
  await sees(person, /heard/);
  assert.deepEqual(texts(), ['so: one\n\ttwo\nthree!']);
});

test('[CLI-01] what is typed during a turn is not shown before the next prompt', async (t) => {
  const { script, release } = heldTurns();
  const { person, texts } = await chatting(t, script);
  person.type('wait\r');
  await sees(person, SPINNER);
  person.type(`two${pasted('\npasted')}\rthree\rhalf`);
  // The frames of the spinner follow what was typed, so that it would be seen by now.
  const frame = SPINNER.exec(person.sees())?.[0] ?? '';
  await eventually(() => SPINNER.test(person.sees()) && !person.sees().includes(frame), PATIENCE);
  assert.doesNotMatch(person.sees(), /two|pasted|three|half/);
  release();
  await sees(person, /heard "three"[^›]*› half$/);
  assert.deepEqual(texts(), ['wait', 'two\npasted', 'three']);
  assert.doesNotMatch(person.sees(), SPINNER);
});

test('[CLI-01] Ctrl-C cancels the turn and drops what was typed meanwhile', async (t) => {
  const { person, texts } = await chatting(t, async function* (turn) {
    if (turn.start.text !== 'wait') return yield* answer(turn);
    await turn.cancelled;
    yield CANCELLED;
  });
  person.type('wait\r');
  await sees(person, SPINNER);
  person.type(`never${CTRL_C}`);
  await sees(person, /cancelled, turn t-1\n›$/);
  person.type('next\r');
  await sees(person, /heard "next"/);
  assert.deepEqual(texts(), ['wait', 'next']);
});

test('[CLI-01] Escape or Alt before Enter does not stop the conversation', async (t) => {
  const { person, texts } = await chatting(t, answer);
  person.type('one\u001b\r');
  person.type('\u001b[\r');
  person.type('\u001bO\r');
  person.type('\r');
  await sees(person, /heard/);
  person.type('two\r');
  await sees(person, /heard "two"/);
  assert.equal(texts().at(-1), 'two');
  person.type(CTRL_D);
  assert.equal(await person.ended, 0);
});

test('[CLI-01] earlier messages are kept over runs, without secrets, for their owner only', async (t) => {
  const { made, person, open } = await chatting(t, answer);
  const said = [
    'first',
    pasted('two\nlines'),
    ' private',
    'my key is sk-ant-api03-abcdefghijklmnopqrstuv',
  ];
  for (const [index, text] of said.entries()) {
    person.type(`${text}\r`);
    await eventually(() => person.sees().split('heard').length === index + 2, PATIENCE);
  }
  person.type('/exit\r');
  assert.equal(await person.ended, 0);
  assert.equal((await stat(made.layout.chatHistory)).mode & 0o777, 0o600);
  const again = await open();
  again.type(UP + UP);
  await sees(again, /^› two\nlines/m);
  again.type(UP);
  await sees(again, /^› first$/m);
  assert.doesNotMatch(again.sees(), /private|sk-ant/);
});

test('[CLI-01] an answer is shown as Markdown while it arrives', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { person } = await chatting(t, async function* () {
    yield say('# Plan\n\nUse **both** of\n');
    await gate.promise;
    yield say('- `one`\n- [two](https://two.test)\n\n```sh\nls *\n```\n');
    yield DONE;
  });
  person.type('go\r');
  await sees(person, /^Plan\n\nUse both of/m);
  gate.resolve();
  await sees(person, /turn t-1\n›$/);
  assert.match(
    person.sees(),
    /^Plan\n\nUse both of\n\n• one\n• two \(https:\/\/two\.test\)\n\n {2}ls \*\n {2}1 step/m,
  );
});

test('[CLI-01] a list longer than the screen is shown whole and once', async (t) => {
  const items = Array.from({ length: 100 }, (_, n) => `item ${n} ${'of many words '.repeat(8)}end`);
  const { person } = await chatting(t, async function* () {
    for (const item of items) {
      yield say(`- ${item}\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    yield DONE;
  });
  person.type('go\r');
  await sees(person, /turn t-1\n›$/);
  const shown = person.sees().replace(/\s+/g, ' ');
  assert.ok(shown.includes(items.map((item) => `• ${item}`).join(' ')));
  assert.equal(shown.match(/•/g)?.length, items.length);
});

test('[CLI-01] what is said of a device that is away stands on a line of its own', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { person } = await chatting(t, async function* (turn) {
    await gate.promise;
    const error = { id: 'device.offline', message: 'asleep', help: 'wait' };
    yield { case: 'deviceUnavailable', value: { error } };
    yield* answer(turn);
  });
  person.type('go\r');
  await sees(person, SPINNER);
  gate.resolve();
  await sees(
    person,
    /^› go\nzl: device\.offline: asleep; this answer is without tools[^⠋]+\nheard "go"/m,
  );
});

test('[RED-01] Markdown cannot bring back what controls the terminal', async (t) => {
  const { person } = await chatting(t, () => [
    say('&#27;[2J&#x9b;2J **&#27;]0;title&#7;** `\u001b[2J` [a&#x202e;b](x&#27;[2J)\n\n'),
    say('| &#27;[2J |\n|---|\n| &#13;over |\n\n```\n&#27;[2J\u001b[2J\n```\n'),
    DONE,
  ]);
  person.type('go\r');
  await sees(person, /turn t-1\n›$/);
  const [, answered = ''] = person.written().split('go\r');
  for (const hostile of ['\u001b[2J', '\u009b', '\u001b]', '\u202e', '\u0007']) {
    assert.ok(!answered.includes(hostile), JSON.stringify(hostile));
  }
  assert.match(person.sees(), /^› go\n/m);
});

test('[CLI-01] without colours an answer is shown as it was written', async (t) => {
  const { person } = await chatting(t, () => [say('# A\n**b**\n'), say('`c`'), DONE], {
    NO_COLOR: '1',
  });
  person.type('go\r');
  await sees(person, /^# A\n\*\*b\*\*\n`c`\n {2}1 step.*\n›$/m);
  assert.ok(!person.written().includes('\u001b[1m'));
});
