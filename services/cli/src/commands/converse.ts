import { createInterface, type Interface } from 'node:readline/promises';
import { Keyboard, PASTE_MARKS } from '../chat/keyboard.ts';
import { EXIT_STATUS, paintFor, type Terminal } from '../terminal.ts';

export interface Exchange {
  readonly prompt: 'shown' | 'none';
  /** What a person said in earlier runs. */
  readonly history?: InputHistory;
  /** Runs one turn and returns its exit status, or `leave` to end the conversation. */
  run(terminal: Terminal, text: string): Promise<number | 'leave'>;
}

interface InputHistory {
  /** The newest first. */
  readonly entries: readonly string[];
  keep(text: string): Promise<void>;
}

/**
 * Runs one turn per message until the end of input. A person saw how each turn
 * ended; a program gets the first status other than 0.
 */
export async function converse(terminal: Terminal, exchange: Exchange): Promise<number> {
  if (terminal.stdin.isTTY === true) return await conversePerson(terminal, exchange);
  let firstFailure: number = EXIT_STATUS.ok;
  for await (const text of createInterface({ input: terminal.stdin })) {
    if (text.trim() === '') continue;
    const status = await exchange.run(terminal, text);
    if (status === 'leave') break;
    firstFailure ||= status;
  }
  return firstFailure;
}

async function conversePerson(terminal: Terminal, exchange: Exchange): Promise<number> {
  let interruptTurn: (() => void) | undefined;
  const keyboard = new Keyboard(terminal.stdin, () => interruptTurn?.());
  const output = exchange.prompt === 'shown' ? terminal.stdout : terminal.stderr;
  const { history } = exchange;
  const lines = createInterface({
    input: keyboard,
    output,
    terminal: true,
    history: [...(history?.entries ?? [])],
    prompt: paintFor(terminal)('cyan', '› '),
  });
  lines.on('line', () => keyboard.hold());
  keyboard.on('keypress', (_, { name }: { readonly name?: string }) => {
    if (name === 'paste-start') insert(lines, keyboard.nextPaste());
  });
  // Ctrl-C at the prompt clears the line.
  lines.on('SIGINT', () => {
    lines.write(null, { ctrl: true, name: 'e' });
    lines.write(null, { ctrl: true, name: 'u' });
  });
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
  const prompt = () => {
    // A program in between, such as the shell after Ctrl-Z, may have turned it off.
    output.write(PASTE_MARKS.on);
    lines.prompt();
    keyboard.open();
  };
  prompt();
  for await (const text of lines) {
    if (text.trim() !== '') {
      await history?.keep(text);
      if ((await exchange.run(turnTerminal, text)) === 'leave') break;
    }
    prompt();
  }
  lines.close();
  keyboard.close();
  // Ctrl-D leaves the cursor behind the prompt.
  output.write(`${PASTE_MARKS.off}\n`);
  return EXIT_STATUS.ok;
}

/** At the cursor. `write` would take each line end for Enter. */
function insert(lines: Interface, text: string): void {
  const { line, cursor } = lines;
  Object.assign(lines, {
    line: line.slice(0, cursor) + text + line.slice(cursor),
    cursor: cursor + text.length,
  });
  lines.prompt(true);
}
