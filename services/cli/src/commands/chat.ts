import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { fromUnknown } from '@zerolatency/errors';
import { ChatSession, type ChatTarget } from '../chat/session.ts';
import { readToken } from '../chat/token.ts';
import { jsonTranscript, type Transcript, terminalTranscript } from '../chat/transcript.ts';
import { paintFor } from '../paint.ts';
import type { Settings } from '../settings.ts';
import { exitStatus, print, type Terminal } from '../terminal.ts';

export interface ChatOptions {
  readonly json?: boolean;
  readonly device?: string;
  readonly model?: string;
}

export async function chatTarget(settings: Settings, options: ChatOptions): Promise<ChatTarget> {
  const { url, caFile } = settings.host;
  return {
    url,
    ca: url.startsWith('https:') ? await readFile(caFile, 'utf8') : '',
    token: await readToken(settings.identity),
    deviceId: options.device ?? settings.deviceId,
    model: options.model ?? '',
  };
}

/** With words: one turn. Without: a conversation, until the end of input. */
export async function chat(
  terminal: Terminal,
  settings: Settings,
  request: { readonly words: readonly string[]; readonly options: ChatOptions },
): Promise<number> {
  const { words, options } = request;
  const session = new ChatSession(await chatTarget(settings, options));
  const transcript = options.json ? jsonTranscript(terminal) : terminalTranscript(terminal);
  try {
    return words.length > 0
      ? await runTurn(terminal, session, { text: words.join(' '), transcript })
      : await converse(terminal, session, transcript);
  } finally {
    session.close();
  }
}

/** Ctrl-C cancels the turn and not the program; a second one leaves the wait for its end. */
export async function runTurn(
  terminal: Terminal,
  session: ChatSession,
  turn: { readonly text: string; readonly transcript: Transcript },
): Promise<number> {
  let interrupts = 0;
  const stopListening = terminal.onInterrupt(() => {
    interrupts += 1;
    if (interrupts === 1) session.cancel();
    else session.close();
  });
  let status: number = exitStatus.failed;
  try {
    for await (const event of session.turn(turn.text)) {
      turn.transcript(event);
      if (event.event.case === 'assistantDone') status = exitStatus.ok;
    }
  } catch (reason) {
    if (interrupts < 2) status = tellFailure(terminal, reason);
  } finally {
    stopListening();
  }
  return interrupts > 0 && status !== exitStatus.ok ? exitStatus.interrupted : status;
}

async function converse(
  terminal: Terminal,
  session: ChatSession,
  transcript: Transcript,
): Promise<number> {
  const paint = paintFor(terminal);
  const { stdin, stdout } = terminal;
  const lines = createInterface({ input: stdin, output: stdout, terminal: stdin.isTTY === true });
  if (stdin.isTTY)
    print(terminal, paint('dim', 'Type a message. Ctrl-C cancels a turn, Ctrl-D leaves.'));
  let status: number = exitStatus.ok;
  lines.setPrompt(stdin.isTTY ? paint('cyan', '› ') : '');
  // While a turn runs, readline would swallow Ctrl-C; hand it on.
  lines.on('SIGINT', () => interruptTurn?.());
  let interruptTurn: (() => void) | undefined;
  const turnTerminal: Terminal = {
    ...terminal,
    onInterrupt(listener) {
      interruptTurn = listener;
      const stop = terminal.onInterrupt(listener);
      return () => {
        interruptTurn = undefined;
        stop();
      };
    },
  };
  lines.prompt();
  for await (const text of lines) {
    if (text.trim() !== '') status = await runTurn(turnTerminal, session, { text, transcript });
    // The stream is gone with a failed connection; another turn cannot run on it.
    if (status === exitStatus.unreachable) break;
    lines.prompt();
  }
  lines.close();
  if (stdout.writableNeedDrain) await once(stdout, 'drain');
  return status;
}

function tellFailure(terminal: Terminal, reason: unknown): number {
  const error = fromUnknown(reason);
  terminal.stderr.write(`zl: ${error.id}: ${error.message}\n    ${error.help}\n`);
  return exitStatus.unreachable;
}
