import { toJson } from '@bufbuild/protobuf';
import {
  type AssistantDone,
  CallOutcome,
  type ChatEvent,
  ChatEventSchema,
  type Critique,
  type ProviderInterrupted,
  type ToolCallDone,
  type ToolsWithheld,
} from '@zerolatency/proto/agent';
import type { Error as TurnError } from '@zerolatency/proto/errors';
import { ForeignText, foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import { durationMicros } from '@zerolatency/service/rpc';
import { isLive, type Paint, paintFor, print, printJson, type Terminal } from '../terminal.ts';
import { LivePage, type Page } from './live-page.ts';

/** Shows the events of turns as they arrive. */
export interface Transcript {
  /** Before the first event of a turn, and after the last. */
  begin(): void;
  end(): void;
  show(event: ChatEvent): void;
}

/** One event per line, in the contract's JSON form. */
export function jsonTranscript(terminal: Terminal): Transcript {
  return {
    begin() {},
    end() {},
    show: (event) => printJson(terminal, toJson(ChatEventSchema, event)),
  };
}

/** For a person: streamed text, and a line per tool call. */
export function terminalTranscript(terminal: Terminal): Transcript {
  const page = isLive(terminal) ? new LivePage(terminal) : new PlainPage(terminal);
  const tools = new Map<string, string>();
  const begin = () => {
    tools.clear();
    page.begin();
  };
  const show = eventsOn(page, { tools, paint: paintFor(terminal) });
  return { begin, end: () => page.end(), show };
}

class PlainPage implements Page {
  readonly #terminal: Terminal;
  readonly #answer = new ForeignText();
  #isMidLine = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  begin(): void {}

  end(): void {}

  prose(text: string): void {
    this.#write(this.#answer.push(text));
  }

  line(text: string): void {
    this.#write(this.#answer.end());
    if (this.#isMidLine) this.#terminal.stdout.write('\n');
    this.#isMidLine = false;
    print(this.#terminal, text);
  }

  #write(text: string): void {
    if (text === '') return;
    this.#terminal.stdout.write(text);
    this.#isMidLine = !text.endsWith('\n');
  }
}

function eventsOn(
  page: Page,
  { tools, paint }: { readonly tools: Map<string, string>; readonly paint: Paint },
): Transcript['show'] {
  let withheld = '';
  return ({ event, turnId }) => {
    switch (event.case) {
      case 'assistantDelta':
        return page.prose(event.value.text);
      case 'toolCallStarted': {
        const { callId, tool, argumentsJson, step } = event.value;
        // Calls run side by side. A call without a model is the only one of its turn.
        const number = step === 0 ? '' : `${tools.size + 1} `;
        tools.set(callId, `${number}${foreignLine(tool)}`);
        return page.line(paint('dim', `  → ${number}${foreignLine(`${tool} ${argumentsJson}`)}`));
      }
      case 'toolCallDone': {
        const name = tools.get(event.value.callId) ?? 'call';
        return page.line(doneLine(event.value, name, paint));
      }
      case 'approvalRequested': {
        const tool = foreignLine(event.value.tool);
        return page.line(paint('yellow', `  ? ${tool} is waiting for approval`));
      }
      case 'toolsWithheld': {
        const words = withheldLine(event.value);
        // A conversation repeats it at each turn, and a person needs it once.
        if (words === withheld) return;
        withheld = words;
        return page.line(paint('yellow', words));
      }
      case 'providerInterrupted':
        return page.line(paint('yellow', interruptedLine(event.value)));
      case 'critique': {
        const words = critiqueLine(event.value);
        return words === '' ? undefined : page.line(paint('yellow', words));
      }
      case 'assistantDone':
        return page.line(paint('dim', endLine(event.value, foreignLine(turnId))));
      case 'error':
        return page.line(errorLine(event.value, foreignLine(turnId), paint));
      default:
        return;
    }
  };
}

/** Empty for a verdict that changes nothing for the reader. */
function critiqueLine({ supersedes, reason, error }: Critique): string {
  const why = foreignLine(error?.message ?? reason);
  if (supersedes) return `  ↻ the answer so far is withdrawn: ${why}`;
  return error === undefined ? '' : `  ! the critic gave no verdict: ${why}`;
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
  return `  ${counted(steps, 'step')}, first token ${first}, ${end}`;
}

function interruptedLine({ provider, model, firstSequence }: ProviderInterrupted): string {
  const discarded = firstSequence === 0n ? '' : '; the text above is not part of the answer';
  return foreignLine(`  ! ${model} of ${provider} broke off its reply${discarded}`);
}

/** Such as: 3 tools withheld by policy, rule no-welcome, no rule allows it. */
function withheldLine({ count, tools }: ToolsWithheld): string {
  const rules = new Set(tools.flatMap(({ ruleId }) => (ruleId === '' ? [] : [`rule ${ruleId}`])));
  const others = new Set(tools.flatMap(({ ruleId, reason }) => (ruleId === '' ? [reason] : [])));
  const why = [...rules, ...others].join(', ');
  return foreignLine(`  ${counted(count, 'tool')} withheld by policy, ${why}`);
}

function errorLine(error: TurnError, turnId: string, paint: Paint): string {
  const { id, message, help, traceId } = error;
  // The user cancelled and needs no help text.
  if (id === 'turn.cancelled') return paint('dim', `  cancelled, turn ${turnId}`);
  // A defect is for whoever reads the logs, which have it under that id.
  const trace = id === 'internal' ? `, trace ${foreignLine(traceId)}` : '';
  const footer = paint('dim', `  turn ${turnId}${trace}`);
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
