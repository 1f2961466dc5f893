import { createInterface, type Interface } from 'node:readline/promises';
import { EXIT_STATUS, paintFor, print, type Terminal } from '../terminal.ts';

export interface Exchange {
  readonly prompt: 'shown' | 'none';
  /** Runs one turn and returns its exit status. */
  run(terminal: Terminal, text: string): Promise<number>;
}

/**
 * Runs one turn per line until the end of input. A person saw how each turn
 * ended; a program gets the first status other than 0.
 */
export async function converse(terminal: Terminal, exchange: Exchange): Promise<number> {
  const isPerson = terminal.stdin.isTTY === true;
  const paint = paintFor(terminal);
  const lines = createInterface({
    input: terminal.stdin,
    output: exchange.prompt === 'shown' ? terminal.stdout : terminal.stderr,
    terminal: isPerson,
  });
  const turnTerminal = forwardInterrupts(terminal, lines);
  lines.setPrompt(isPerson ? paint('cyan', '› ') : '');
  if (isPerson && exchange.prompt === 'shown') {
    print(terminal, paint('dim', 'Type a message. Ctrl-C cancels a turn, Ctrl-D exits.'));
  }
  let firstFailure: number = EXIT_STATUS.ok;
  lines.prompt();
  for await (const text of lines) {
    const status = text.trim() === '' ? EXIT_STATUS.ok : await exchange.run(turnTerminal, text);
    firstFailure ||= status;
    lines.prompt();
  }
  lines.close();
  // Ctrl-D leaves the cursor behind the prompt.
  if (isPerson) terminal.stderr.write('\n');
  return isPerson ? EXIT_STATUS.ok : firstFailure;
}

/** On a terminal readline receives Ctrl-C. It cancels the running turn, or else clears the line. */
function forwardInterrupts(terminal: Terminal, lines: Interface): Terminal {
  let interruptTurn: (() => void) | undefined;
  lines.on('SIGINT', () => {
    if (interruptTurn !== undefined) return interruptTurn();
    lines.write(null, { ctrl: true, name: 'e' });
    lines.write(null, { ctrl: true, name: 'u' });
  });
  return {
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
}
