import { toJson } from '@bufbuild/protobuf';
import {
  type AssistantDone,
  CallOutcome,
  type ChatEvent,
  ChatEventSchema,
  type ToolCallDone,
  type ToolsWithheld,
} from '@zerolatency/proto/agent';
import type { Error as TurnError } from '@zerolatency/proto/errors';
import { ForeignText, foreignLine } from '@zerolatency/redaction';
import { durationMicros } from '@zerolatency/service/rpc';
import { type Paint, paintFor, print, printJson, type Terminal } from '../terminal.ts';

/** Shows the events of a turn as they arrive. */
export type Transcript = (event: ChatEvent) => void;

/** One event per line, in the contract's JSON form. */
export function jsonTranscript(terminal: Terminal): Transcript {
  return (event) => printJson(terminal, toJson(ChatEventSchema, event));
}

/** For a person: streamed text, and a line per tool call. */
export function terminalTranscript(terminal: Terminal): Transcript {
  const paint = paintFor(terminal);
  const tools = new Map<string, string>();
  const answer = new ForeignText();
  let isMidLine = false;
  const prose = (text: string) => {
    if (text === '') return;
    terminal.stdout.write(text);
    isMidLine = !text.endsWith('\n');
  };
  const line = (text: string) => {
    prose(answer.end());
    if (isMidLine) terminal.stdout.write('\n');
    isMidLine = false;
    print(terminal, text);
  };
  let withheld = '';
  return ({ event, turnId }) => {
    switch (event.case) {
      case 'assistantDelta':
        return prose(answer.push(event.value.text));
      case 'toolCallStarted': {
        const { callId, tool, argumentsJson } = event.value;
        tools.set(callId, foreignLine(tool));
        return line(paint('dim', `  → ${foreignLine(`${tool} ${argumentsJson}`)}`));
      }
      case 'toolCallDone':
        return line(doneLine(event.value, tools.get(event.value.callId) ?? 'call', paint));
      case 'approvalRequested':
        return line(
          paint('yellow', `  ? ${foreignLine(event.value.tool)} is waiting for approval`),
        );
      case 'toolsWithheld': {
        const words = withheldLine(event.value);
        // A conversation repeats it at each turn, and a person needs it once.
        if (words === withheld) return;
        withheld = words;
        return line(paint('yellow', words));
      }
      case 'assistantDone':
        return line(paint('dim', endLine(event.value, foreignLine(turnId))));
      case 'error':
        return line(errorLine(event.value, foreignLine(turnId), paint));
      default:
        return;
    }
  };
}

function doneLine(done: ToolCallDone, tool: string, paint: Paint): string {
  const { timing } = done;
  if (done.outcome !== CallOutcome.DONE) {
    const outcome = CallOutcome[done.outcome]?.toLowerCase() ?? 'unknown';
    return `${paint('red', `  ✗ ${tool} ${outcome}`)}: ${foreignLine(done.error?.message ?? '')}`;
  }
  const parts =
    timing === undefined
      ? ''
      : ` in ${milliseconds(durationMicros(timing.total))} (on the device ${milliseconds(durationMicros(timing.device))}, its server ${milliseconds(durationMicros(timing.server))})`;
  return paint('green', `  ✓ ${tool}${parts}`);
}

function endLine({ steps, timeToFirstToken, total }: AssistantDone, turnId: string): string {
  const end = `total ${milliseconds(durationMicros(total))}, turn ${turnId}`;
  // A call without a model has neither steps nor text.
  if (steps === 0) return `  ${end}`;
  const first = milliseconds(durationMicros(timeToFirstToken));
  return `  ${steps} ${steps === 1 ? 'step' : 'steps'}, first token ${first}, ${end}`;
}

/** Such as: 3 tools withheld by policy, rule no-welcome, no rule allows it. */
function withheldLine({ count, tools }: ToolsWithheld): string {
  const rules = new Set(tools.flatMap(({ ruleId }) => (ruleId === '' ? [] : [`rule ${ruleId}`])));
  const others = new Set(tools.flatMap(({ ruleId, reason }) => (ruleId === '' ? [reason] : [])));
  const why = [...rules, ...others].join(', ');
  return foreignLine(`  ${count} ${count === 1 ? 'tool' : 'tools'} withheld by policy, ${why}`);
}

function errorLine({ id, message, help }: TurnError, turnId: string, paint: Paint): string {
  // The user cancelled and needs no help text.
  if (id === 'turn.cancelled') return paint('dim', `  cancelled, turn ${turnId}`);
  const footer = paint('dim', `  turn ${turnId}`);
  return `${paint('red', `  ✗ ${foreignLine(id)}`)}: ${foreignLine(message)}\n    ${foreignLine(help)}\n${footer}`;
}

/** The time of each hop without that of the hops behind it. */
export function hopsOf(times: {
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}): [string, number][] {
  const { totalUs, remoteUs, deviceUs, serverUs } = times;
  return [
    ['host: policy, schema, receipt, ledger', totalUs - remoteUs],
    ['network: host, relay, device and back', remoteUs - deviceUs],
    ['bridge: policy, journal, receipt', deviceUs - serverUs],
    ['MCP server', serverUs],
  ];
}

export function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`;
}
