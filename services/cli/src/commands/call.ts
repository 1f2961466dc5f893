import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import {
  AgentService,
  CallOutcome,
  type ChatEvent,
  type ToolCallDone,
} from '@zerolatency/proto/agent';
import { foreignText } from '@zerolatency/redaction';
import type { ChatTarget } from '../chat/session.ts';
import { jsonTranscript, type Transcript, terminalTranscript } from '../chat/transcript.ts';
import { connectionError } from '../connection/connection-error.ts';
import type { Settings } from '../settings.ts';
import { EXIT_STATUS, print, readable, type Terminal } from '../terminal.ts';
import { type ChatOptions, chatTarget, runTurn, type TurnRunner } from './chat.ts';

export interface AskedTool {
  readonly tool: string;
  /** One JSON object. */
  readonly argumentsJson: string;
}

/** Runs one tool call without a model, through policy, receipt and ledger. */
export async function call(
  terminal: Terminal,
  settings: Settings,
  { options, ...asked }: AskedTool & { readonly options: ChatOptions },
): Promise<number> {
  expectObject(asked.argumentsJson);
  const runner = new CallRunner(await chatTarget(settings, options), asked);
  const shown = options.json ? jsonTranscript(terminal) : personTranscript(terminal);
  let isDone = false;
  const transcript: Transcript = {
    ...shown,
    show(event) {
      if (event.event.case === 'toolCallDone') {
        isDone = event.event.value.outcome === CallOutcome.DONE;
      }
      shown.show(event);
    },
  };
  const status = await runTurn(terminal, runner, { text: '', transcript });
  if (status !== EXIT_STATUS.ok) return status;
  return isDone ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

/** The usual mistake is the quoting of a shell, of which the host knows nothing. */
function expectObject(text: string): void {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  } catch {
    // Reported below, like every text that is not an object.
  }
  const example = `'{"path":"welcome.txt"}'`;
  throw new ZlError(
    'request.invalid',
    `the arguments are not a JSON object; write them in quotes, like ${example}`,
  );
}

function personTranscript(terminal: Terminal): Transcript {
  const shown = terminalTranscript(terminal);
  return {
    ...shown,
    show(event) {
      shown.show(event);
      if (event.event.case === 'toolCallDone') printResult(terminal, event.event.value);
    },
  };
}

function printResult(terminal: Terminal, { resultJson }: ToolCallDone): void {
  if (resultJson === '') return;
  const { content, structuredContent }: McpResult = JSON.parse(resultJson);
  const texts = (content ?? []).flatMap(({ text }) => (typeof text === 'string' ? [text] : []));
  if (structuredContent !== undefined) print(terminal, readable(structuredContent));
  else if (texts.length === content?.length) print(terminal, foreignText(texts.join('\n')));
  else print(terminal, readable({ content }));
}

/** The host has checked that it is one. */
interface McpResult {
  readonly content?: readonly { readonly text?: unknown }[];
  readonly structuredContent?: unknown;
}

/** One CallTool RPC. */
class CallRunner implements TurnRunner {
  readonly #target: ChatTarget;
  readonly #asked: AskedTool;
  readonly #stop = new AbortController();

  constructor(target: ChatTarget, asked: AskedTool) {
    this.#target = target;
    this.#asked = asked;
  }

  async *turn(): AsyncGenerator<ChatEvent> {
    const { url, ca, token, deviceId } = this.#target;
    const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca } });
    const options = {
      headers: { authorization: `Bearer ${token}` },
      signal: this.#stop.signal,
    };
    try {
      const request = { ...this.#asked, deviceId };
      for await (const { event } of createClient(AgentService, transport).callTool(
        request,
        options,
      )) {
        if (event !== undefined) yield event;
      }
    } catch (reason) {
      throw connectionError(reason, { url, unreachable: 'host.unreachable', lost: 'host.lost' });
    }
  }

  cancel(): void {
    this.#stop.abort();
  }

  close(): void {
    this.#stop.abort();
  }
}
