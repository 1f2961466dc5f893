import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { EXIT_STATUS, type Terminal } from '../terminal.ts';
import { converse } from './converse.ts';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

/** A person at a keyboard, and turns that last until Ctrl-C where their text says so. */
function conversing(prompt: 'shown' | 'none' = 'shown') {
  const keyboard = Object.assign(new PassThrough(), { isTTY: true });
  const terminal = fakeTerminal({ input: keyboard, isTTY: true });
  const turns: string[] = [];
  const run = async (turnTerminal: Terminal, text: string) => {
    turns.push(text);
    if (text !== 'wait') return EXIT_STATUS.ok;
    await new Promise<void>((resolve) => {
      const stop = turnTerminal.onInterrupt(() => {
        stop();
        resolve();
      });
    });
    turns.push('interrupted');
    return EXIT_STATUS.interrupted;
  };
  const ended = converse(terminal, { prompt, run });
  return { keyboard, terminal, turns, ended };
}

test('during a turn Ctrl-C cancels the turn, and the conversation goes on', async () => {
  const { keyboard, turns, ended } = conversing();
  keyboard.write('wait\r');
  await eventually(() => turns.includes('wait'));
  keyboard.write(CTRL_C);
  await eventually(() => turns.includes('interrupted'));
  keyboard.write('go on\r');
  await eventually(() => turns.includes('go on'));
  keyboard.write(CTRL_D);
  assert.equal(await ended, EXIT_STATUS.ok);
});

test('between turns Ctrl-C clears the input line', async () => {
  const { keyboard, turns, ended } = conversing();
  keyboard.write(`half a line${CTRL_C}whole\r`);
  await eventually(() => turns.length > 0);
  keyboard.write(CTRL_D);
  assert.equal(await ended, EXIT_STATUS.ok);
  assert.deepEqual(turns, ['whole']);
});

test('a conversation for a program prints its prompt on stderr', async () => {
  const { keyboard, terminal, turns, ended } = conversing('none');
  keyboard.write('hello\r');
  await eventually(() => turns.length > 0);
  keyboard.write(CTRL_D);
  await ended;
  assert.equal(terminal.output(), '');
  assert.match(terminal.errors(), /›/);
});

test('piped input gets no prompt and exits with the status of the first failed turn', async () => {
  const terminal = fakeTerminal({ input: ['one', ' ', 'two', 'three'] });
  const statuses = [EXIT_STATUS.ok, EXIT_STATUS.unreachable, EXIT_STATUS.failed];
  const turns: string[] = [];
  const run = async (_: Terminal, text: string) => statuses[turns.push(text) - 1] ?? EXIT_STATUS.ok;
  assert.equal(await converse(terminal, { prompt: 'shown', run }), EXIT_STATUS.unreachable);
  assert.deepEqual(turns, ['one', 'two', 'three']);
  assert.equal(terminal.output(), '');
});
