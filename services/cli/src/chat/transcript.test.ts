import assert from 'node:assert/strict';
import { test } from 'node:test';
import { styleText } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { CallOutcome, ChatEventSchema } from '@zerolatency/proto/agent';
import { DONE, type Event, say } from '../../test/fake-host.ts';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { shownOf } from '../../test/pseudo-terminal.ts';
import { jsonTranscript, terminalTranscript } from './transcript.ts';

const TIMING = {
  total: { nanos: 12_345_000 },
  remote: { nanos: 9_000_000 },
  device: { nanos: 8_000_000 },
  server: { nanos: 2_500_000 },
};
const turn: Event[] = [
  say('Let me '),
  say('look. '),
  {
    case: 'toolCallStarted',
    value: { callId: 'c1', tool: 'fs.read', argumentsJson: '{"path":"a.txt"}', step: 1 },
  },
  {
    case: 'toolCallStarted',
    value: { callId: 'c2', tool: 'fs.read', argumentsJson: '{"path":"b.txt"}', step: 1 },
  },
  { case: 'toolCallDelta', value: { callId: 'c1', receivedBytes: 100n } },
  { case: 'toolCallDone', value: { callId: 'c1', outcome: CallOutcome.DONE, timing: TIMING } },
  {
    case: 'toolCallDone',
    value: { callId: 'c2', outcome: CallOutcome.DENIED, error: { message: 'no rule allows it' } },
  },
  { case: 'usage', value: { inputTokens: 10n, outputTokens: 2n } },
  say(''),
  say('It says:\n'),
  { case: 'approvalRequested', value: { callId: 'c3', tool: 'fs.write' } },
  say('end\n'),
  { ...DONE, value: { ...DONE.value, steps: 2 } } as Event,
];

function show(events: readonly Event[], { isTTY = false, json = false } = {}): string {
  const terminal = fakeTerminal({ isTTY });
  const transcript = json ? jsonTranscript(terminal) : terminalTranscript(terminal);
  events.forEach((event, index) => {
    transcript.show(create(ChatEventSchema, { sequence: BigInt(index + 1), turnId: 't', event }));
  });
  return terminal.output();
}

const GOLDEN = `Let me look. 
  → 1 fs.read {"path":"a.txt"}
  → 2 fs.read {"path":"b.txt"}
  ✓ 1 fs.read in 12.3 ms (on the device 8.0 ms, its server 2.5 ms)
  ✗ 2 fs.read denied: no rule allows it
It says:
  ? fs.write is waiting for approval
end
  2 steps, first token 1.5 ms, total 20.0 ms, turn t
`;

test('shows a person streamed text and a line per call, numbered where a model asked for it', () => {
  assert.equal(show(turn), GOLDEN);
});

test('[RED-01] an answer keeps a joiner between letters that need it, and nothing else that is not seen', () => {
  const turn = [say('می'), say('\u200c'), say('خواهم \u202efdp'), say('.a\u200b\u200d'), DONE];
  assert.match(show(turn as Event[]), /^می\u200cخواهم fdp\.a\n {2}1 step,/);
});

test('a terminal shows the same text in colour', async () => {
  const coloured = show(turn, { isTTY: true });
  assert.ok(coloured.includes(styleText('red', '  ✗ 2 fs.read denied', { validateStream: false })));
  // The end of a paragraph has no spaces.
  assert.equal(`${await shownOf(coloured)}\n`, GOLDEN.replace(/ +$/m, ''));
});

test("a program gets one event per line in the contract's JSON form", () => {
  const lines = show(turn, { json: true })
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(lines.length, turn.length);
  assert.deepEqual(lines[0], { sequence: '1', turnId: 't', assistantDelta: { text: 'Let me ' } });
  assert.deepEqual(lines[5], {
    sequence: '6',
    turnId: 't',
    toolCallDone: {
      callId: 'c1',
      outcome: 'CALL_OUTCOME_DONE',
      timing: { total: '0.012345s', remote: '0.009s', device: '0.008s', server: '0.002500s' },
    },
  });
  assert.deepEqual(lines.at(-1).assistantDone, {
    steps: 2,
    timeToFirstToken: '0.001500s',
    total: '0.020s',
  });
});

test('[PROV-03] says whose reply broke off, and that its text does not count', () => {
  const brokenOff = (firstSequence: bigint): Event => ({
    case: 'providerInterrupted',
    value: { provider: 'claude', model: 'm-1', firstSequence },
  });
  const shown = show([brokenOff(0n), say('half'), brokenOff(2n), say('whole'), DONE]);
  assert.match(
    shown,
    /^ {2}! m-1 of claude broke off its reply\nhalf\n {2}! m-1 of claude broke off its reply; the text above is not part of the answer\nwhole\n/,
  );
});

test('[POL-06] names once the rules by which policy withholds tools', () => {
  const withheld = (count: number, ...rules: string[]): Event => ({
    case: 'toolsWithheld',
    value: {
      count,
      tools: rules.map((ruleId, index) => ({
        ...{ tool: `fs.t${index}`, ruleId },
        reason: ruleId === '' ? 'no rule allows it' : `rule ${ruleId} denies it`,
      })),
    },
  });
  const one = withheld(1, 'no-welcome');
  const shown = show([one, DONE, one, DONE, withheld(3, 'no-welcome', '', '')]);
  const end = '  1 step, first token 1.5 ms, total 20.0 ms, turn t\n';
  assert.equal(
    shown,
    `  1 tool withheld by policy, rule no-welcome\n${end}${end}` +
      '  3 tools withheld by policy, rule no-welcome, no rule allows it\n',
  );
});

test('names the turn at its end, however it ends', () => {
  const error = (id: string): Event => ({
    case: 'error',
    value: { id, message: 'too slow', help: 'wait', traceId: 'abc' },
  });
  assert.equal(
    show([error('budget.time'), error('turn.cancelled')]),
    '  ✗ budget.time: too slow\n    wait\n  turn t\n  cancelled, turn t\n',
  );
  assert.match(show([error('internal')]), /^ {2}turn t, trace abc$/m);
});

test('shows calls without timing, unknown outcomes and truncated arguments', () => {
  const argumentsJson = JSON.stringify({ text: 'x'.repeat(5_000) });
  const shown = show([
    { case: 'toolCallStarted', value: { callId: 'c1', tool: 'a.b', argumentsJson } },
    { case: 'toolCallDone', value: { callId: 'c1', outcome: CallOutcome.DONE } },
    {
      case: 'toolCallDone',
      value: { callId: 'c9', outcome: CallOutcome.UNKNOWN, error: { message: 'nobody knows' } },
    },
  ]);
  const [started = '', ...rest] = shown.split('\n');
  assert.ok(started.endsWith('…') && started.length < 600);
  assert.deepEqual(rest, ['  ✓ a.b', '  ✗ call unknown: nobody knows', '']);
});
