import { toJson } from '@bufbuild/protobuf';
import {
  type AssistantDone,
  CallOutcome,
  type ChatEvent,
  ChatEventSchema,
  type ToolCallDone,
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
  return ({ event }) => {
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
      case 'assistantDone':
        return line(paint('dim', endLine(event.value)));
      case 'error':
        return line(errorLine(event.value, paint));
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

function endLine({ steps, timeToFirstToken, total }: AssistantDone): string {
  const times = `first token ${milliseconds(durationMicros(timeToFirstToken))}, total ${milliseconds(durationMicros(total))}`;
  return `  ${steps} ${steps === 1 ? 'step' : 'steps'}, ${times}`;
}

function errorLine({ id, message, help }: TurnError, paint: Paint): string {
  // The user cancelled and needs no help text.
  if (id === 'turn.cancelled') return paint('dim', '  cancelled');
  return `${paint('red', `  ✗ ${foreignLine(id)}`)}: ${foreignLine(message)}\n    ${foreignLine(help)}`;
}

export function milliseconds(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`;
}
