import type { Layout } from '../installation/layout.ts';
import type { Terminal } from '../terminal.ts';

/** Ends a command with the exit status its work came to. */
export type Finish = (work: Promise<number>) => Promise<void>;

/** What a group of commands is built from. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly finish: Finish;
  layout(): Layout;
}
