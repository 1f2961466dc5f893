import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { toConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { DONE, type Script, say, serveHost } from '../../test/fake-host.ts';
import { installed } from '../../test/installed.ts';
import { chatTarget } from '../commands/chat.ts';
import { readSettings } from '../settings.ts';
import { Conversation } from './conversation.ts';
import { ChatStream } from './session.ts';

/** A conversation with a host, and the streams it opened. */
async function conversing(t: TestContext, script: Script) {
  const made = await installed(t);
  const host = await serveHost(t, made, script);
  const sessions: ChatStream[] = [];
  const waits: number[] = [];
  const open = async () => {
    const target = await chatTarget(await readSettings(made.layout.settings), {});
    const session = new ChatStream(target);
    sessions.push(session);
    return session;
  };
  const conversation = new Conversation(open, { onWait: (_, waitMs) => waits.push(waitMs) });
  t.after(() => conversation.close());
  const ask = async (text: string) => {
    for await (const _ of conversation.turn(text));
  };
  return { host, sessions, ask, waits };
}

test('replaces a stream that ended between two turns before sending the second', async (t) => {
  const { host, sessions, ask } = await conversing(t, () => [say('yes'), DONE]);
  await ask('one');
  host.cut();
  await eventually(() => sessions[0]?.isOver === true);
  await ask('two');
  assert.deepEqual(
    host.starts.map(({ stream, start }) => [stream, start.history.length]),
    [
      [1, 0],
      [2, 2],
    ],
  );
});

test('[HOST-12] a turn that a limit refuses is sent again after the wait that the host states, once', async (t) => {
  const refusal = (retryAfterMs: number) =>
    toConnectError(new ZlError('limit.exceeded', 'too many', { retryAfterMs }));
  const { host, ask, waits } = await conversing(t, ({ start, stream }) => {
    if (start.text === 'later') throw refusal(3_600_000);
    if (start.text === 'always' || stream === 1) throw refusal(20);
    return [say('yes'), DONE];
  });
  await ask('soon');
  assert.deepEqual([host.starts.length, waits], [2, [20]]);
  await assert.rejects(ask('always'), { id: 'limit.exceeded' });
  await assert.rejects(ask('later'), { id: 'limit.exceeded', retryAfterMs: 3_600_000 });
  assert.deepEqual([host.starts.length, waits], [5, [20, 20]]);
});

test('cancelling a turn before its stream is open ends the turn and closes the stream', async () => {
  const opened = Promise.withResolvers<ChatStream>();
  const conversation = new Conversation(() => opened.promise);
  const turn = conversation.turn('hello').next();
  conversation.cancel();
  await assert.rejects(turn, { id: 'turn.cancelled' });
  const target = { url: 'http://127.0.0.1:1', ca: '', token: '', deviceId: '', model: '' };
  const session = new ChatStream(target);
  opened.resolve(session);
  await eventually(() => session.isOver);
});

test('[PROV-03] text of a reply that broke off does not enter the history', async (t) => {
  const { host, sessions, ask } = await conversing(t, () => [
    say('I look. '),
    { case: 'usage', value: {} },
    say('half'),
    { case: 'providerInterrupted', value: { firstSequence: 3n } },
    say('whole'),
    DONE,
  ]);
  await ask('one');
  host.cut();
  await eventually(() => sessions[0]?.isOver === true);
  await ask('two');
  assert.equal(host.starts[1]?.start.history[1]?.text, 'I look. whole');
});

test('a failed turn does not enter the history', async (t) => {
  const { host, sessions, ask } = await conversing(t, ({ start }) =>
    start.text === 'fail' ? [say('no'), { case: 'error', value: { id: 'internal' } }] : [DONE],
  );
  await ask('fail');
  assert.equal(sessions[0]?.isOver, false);
  host.cut();
  await eventually(() => sessions[0]?.isOver === true);
  await ask('two');
  assert.deepEqual(host.starts.at(-1)?.start.history, []);
});

test("the history stays within the host's limits and keeps the newest turns whole", async (t) => {
  const long = 'x'.repeat(50 * 1024);
  const { host, sessions, ask } = await conversing(t, () => [say(long), DONE]);
  for (let i = 1; i <= 4; i++) await ask(`question ${i}`);
  host.cut();
  await eventually(() => sessions[0]?.isOver === true);
  await ask('and now?');
  const { history = [] } = host.starts.at(-1)?.start ?? {};
  assert.deepEqual(
    history.map(({ text }) => text.slice(0, 10)),
    ['question 3', 'x'.repeat(10), 'question 4', 'x'.repeat(10)],
  );
});
