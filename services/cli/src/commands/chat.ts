import { type ChatEvent, OnInterruption } from '@zerolatency/proto/agent';
import { foreignLine } from '@zerolatency/redaction';
import { Conversation } from '../chat/conversation.ts';
import { ChatHistory } from '../chat/history.ts';
import { ChatStream, type ChatTarget } from '../chat/session.ts';
import type { TurnChoice } from '../chat/surroundings.ts';
import { readToken } from '../chat/token.ts';
import { jsonTranscript, type Transcript, terminalTranscript } from '../chat/transcript.ts';
import { readAuthorities } from '../input.ts';
import type { Settings } from '../settings.ts';
import { drained, EXIT_STATUS, reportFailure, statusOf, type Terminal } from '../terminal.ts';
import { converse } from './converse.ts';
import { type Place, SlashCommands } from './slash-commands.ts';

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
  place: Place,
  request: { readonly words: readonly string[]; readonly options: ChatOptions },
): Promise<number> {
  const { words, options } = request;
  const { device = place.settings.deviceId, model = '' } = options;
  const choice: TurnChoice = {
    deviceId: device === false ? '' : device,
    isDeviceNamed: options.device !== undefined,
    model,
  };
  // Every stream needs a fresh access token, as the previous one may have expired.
  const open = async () => new ChatStream(await chatTarget(place.settings, options));
  const shown = options.json ? jsonTranscript(terminal) : terminalTranscript(terminal);
  const transcript = reportingAway(terminal, shown);
  const conversation = new Conversation(open, {
    choice: () => ({
      deviceId: choice.deviceId,
      deviceOptional: !choice.isDeviceNamed,
      // A person sees that text is replaced; a program of an earlier release would join both texts.
      onInterruption: options.json ? OnInterruption.FAIL : OnInterruption.REPLACE,
      model: choice.model,
    }),
    onResume: () => reportBreak(terminal, transcript),
    onWait: ({ message }, waitMs) => {
      const seconds = Math.ceil(waitMs / 1000);
      terminal.stderr.write(`zl: ${foreignLine(message)}; trying again in ${seconds} s\n`);
    },
  });
  try {
    if (words.length > 0) {
      return await runTurn(terminal, conversation, { text: words.join(' '), transcript });
    }
    if (options.json || terminal.stdin.isTTY !== true) {
      return await converse(terminal, {
        prompt: options.json ? 'none' : 'shown',
        run: (turnTerminal, text) => runTurn(turnTerminal, conversation, { text, transcript }),
      });
    }
    const commands = new SlashCommands(terminal, place, choice);
    return await chatWithPerson(terminal, { conversation, transcript, commands, place });
  } finally {
    conversation.close();
  }
}

/** Who names a device wants its tools; without a name the answer counts for more. */
function reportingAway({ stderr }: Terminal, transcript: Transcript): Transcript {
  return {
    ...transcript,
    show(event) {
      if (event.event.case === 'deviceUnavailable') {
        const { id = '', message = '' } = event.event.value.error ?? {};
        const why = foreignLine(`${id}: ${message}`);
        transcript.end();
        stderr.write(
          `zl: ${why}; this answer is without tools. "zl doctor" names the hop that fails.\n`,
        );
        transcript.begin();
      }
      transcript.show(event);
    },
  };
}

function reportBreak({ stderr }: Terminal, transcript: Transcript): void {
  transcript.end();
  stderr.write('zl: the connection broke; the answer is read on from where it was\n');
  transcript.begin();
}

interface PersonChat {
  readonly conversation: Conversation;
  readonly transcript: Transcript;
  readonly commands: SlashCommands;
  readonly place: Place;
}

async function chatWithPerson(
  terminal: Terminal,
  { conversation, transcript, commands, place }: PersonChat,
): Promise<number> {
  const history = await ChatHistory.open(place.layout.chatHistory, (reason) =>
    terminal.stderr.write(`zl: the history of this chat is not kept: ${foreignLine(reason)}\n`),
  );
  await commands.printOpening();
  const shown: Transcript = {
    ...transcript,
    show(event) {
      commands.lastTurnId = event.turnId;
      transcript.show(event);
    },
  };
  return await converse(terminal, {
    prompt: 'shown',
    history,
    async run(turnTerminal, text) {
      const outcome = await commands.run(text);
      if (outcome === 'leave') return outcome;
      if (outcome === 'done') return EXIT_STATUS.ok;
      return await runTurn(turnTerminal, conversation, { text, transcript: shown });
    },
  });
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
  turn.transcript.begin();
  try {
    for await (const event of runner.turn(turn.text)) {
      turn.transcript.show(event);
      await drained(terminal);
      const { case: kind, value } = event.event;
      if (kind === 'assistantDone') status = EXIT_STATUS.ok;
      if (kind === 'error') status = statusOf(value);
    }
  } catch (reason) {
    // The error is not to stand behind half a line.
    turn.transcript.end();
    if (interrupts < 2) status = reportFailure(terminal, reason);
  } finally {
    turn.transcript.end();
    stopListening();
  }
  return interrupts > 0 && status !== EXIT_STATUS.ok ? EXIT_STATUS.interrupted : status;
}
