import { toJson } from '@bufbuild/protobuf';
import {
  CallOutcome,
  type ChatEvent,
  ChatEventSchema,
  type ToolCallDone,
} from '@zerolatency/proto/agent';
import { type Paint, paintFor } from '../paint.ts';
import { print, printJson, type Terminal } from '../terminal.ts';

/** Shows a turn's events as they come. */
export type Transcript = (event: ChatEvent) => void;

/** One event a line, in the JSON form of the contract. */
export function jsonTranscript(terminal: Terminal): Transcript {
  return (event) => printJson(terminal, toJson(ChatEventSchema, event));
}

/** For a person: text as it streams, and a line for each tool call. */
export function terminalTranscript(terminal: Terminal): Transcript {
  const paint = paintFor(terminal);
  const tools = new Map<string, string>();
  let column = 0;
  const line = (text: string) => {
    if (column > 0) terminal.stdout.write('\n');
    column = 0;
    print(terminal, text);
  };
  return ({ event }) => {
    switch (event.case) {
      case 'assistantDelta':
        terminal.stdout.write(event.value.text);
        column = event.value.text.endsWith('\n') ? 0 : 1;
        return;
      case 'toolCallStarted': {
        const call = `${event.value.tool} ${event.value.argumentsJson}`;
        tools.set(event.value.callId, event.value.tool);
        return line(paint('dim', `  → ${call}`));
      }
      case 'toolCallDone':
        return line(doneLine(event.value, tools.get(event.value.callId) ?? 'call', paint));
      case 'assistantDone':
        return line(
          paint(
            'dim',
            `  ${event.value.steps} steps, first token ${milliseconds(event.value.timeToFirstTokenUs)}, total ${milliseconds(event.value.totalUs)}`,
          ),
        );
      case 'error':
        return line(
          `${paint('red', `  ✗ ${event.value.id}`)}: ${event.value.message}\n    ${event.value.help}`,
        );
      default:
        return;
    }
  };
}

function doneLine(done: ToolCallDone, tool: string, paint: Paint): string {
  const { timing } = done;
  if (done.outcome !== CallOutcome.DONE) {
    const outcome = CallOutcome[done.outcome]?.toLowerCase() ?? 'unknown';
    return `${paint('red', `  ✗ ${tool} ${outcome}`)}: ${done.error?.message ?? ''}`;
  }
  const parts =
    timing === undefined
      ? ''
      : ` in ${milliseconds(timing.totalUs)} (on the device ${milliseconds(timing.deviceUs)}, its server ${milliseconds(timing.serverUs)})`;
  return paint('green', `  ✓ ${tool}${parts}`);
}

export function milliseconds(us: bigint): string {
  return `${(Number(us) / 1000).toFixed(1)} ms`;
}
