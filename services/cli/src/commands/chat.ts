import type { ChatEvent } from '@zerolatency/proto/agent';
import { foreignLine } from '@zerolatency/redaction';
import { Conversation } from '../chat/conversation.ts';
import { ChatStream, type ChatTarget } from '../chat/session.ts';
import { readToken } from '../chat/token.ts';
import { jsonTranscript, type Transcript, terminalTranscript } from '../chat/transcript.ts';
import { readAuthorities } from '../input.ts';
import type { Settings } from '../settings.ts';
import { drained, EXIT_STATUS, reportFailure, statusOf, type Terminal } from '../terminal.ts';
import { converse } from './converse.ts';

export interface ChatOptions {
  readonly json?: boolean;
  /** False: no device, and so no tools. */
  readonly device?: string | false;
  readonly model?: string;
}

/** A stream, or a conversation over several streams. */
export interface TurnRunner {
  turn(text: string): AsyncGenerator<ChatEvent>;
  cancel(): void;
  close(): void;
}

export async function chatTarget(settings: Settings, options: ChatOptions): Promise<ChatTarget> {
  const { url, caFile } = settings.host;
  const { device = settings.deviceId, model = '' } = options;
  return {
    url,
    ca: url.startsWith('https:') ? await readAuthorities(caFile) : '',
    token: await readToken(settings.identity),
    deviceId: device === false ? '' : device,
    model,
  };
}

/** Runs one turn with the given words; without words, a conversation until the end of input. */
export async function chat(
  terminal: Terminal,
  settings: Settings,
  request: { readonly words: readonly string[]; readonly options: ChatOptions },
): Promise<number> {
  const { words, options } = request;
  // Every stream needs a fresh access token, as the previous one may have expired.
  const open = async () => new ChatStream(await chatTarget(settings, options));
  const transcript = options.json ? jsonTranscript(terminal) : terminalTranscript(terminal);
  const conversation = new Conversation(
    open,
    options.device === undefined ? (error) => reportAway(terminal, error) : undefined,
  );
  try {
    if (words.length > 0) {
      return await runTurn(terminal, conversation, { text: words.join(' '), transcript });
    }
    return await converse(terminal, {
      prompt: options.json ? 'none' : 'shown',
      run: (turnTerminal, text) => runTurn(turnTerminal, conversation, { text, transcript }),
    });
  } finally {
    conversation.close();
  }
}

/** Who names a device wants its tools; without a name the answer counts for more. */
function reportAway({ stderr }: Terminal, { id, message }: { id: string; message: string }): void {
  const why = foreignLine(`${id}: ${message}`);
  stderr.write(`zl: ${why}; this answer is without tools. "zl doctor" names the hop that fails.\n`);
}

/** Ctrl-C cancels the turn, not the program. A second one stops waiting for its end. */
export async function runTurn(
  terminal: Terminal,
  runner: TurnRunner,
  turn: { readonly text: string; readonly transcript: Transcript },
): Promise<number> {
  let interrupts = 0;
  const stopListening = terminal.onInterrupt(() => {
    interrupts += 1;
    if (interrupts === 1) runner.cancel();
    else runner.close();
  });
  let status: number = EXIT_STATUS.failed;
  try {
    for await (const event of runner.turn(turn.text)) {
      turn.transcript(event);
      await drained(terminal);
      const { case: kind, value } = event.event;
      if (kind === 'assistantDone') status = EXIT_STATUS.ok;
      if (kind === 'error') status = statusOf(value);
    }
  } catch (reason) {
    if (interrupts < 2) status = reportFailure(terminal, reason);
  } finally {
    stopListening();
  }
  return interrupts > 0 && status !== EXIT_STATUS.ok ? EXIT_STATUS.interrupted : status;
}
