import type { Layout } from '../installation/layout.ts';
import type { Terminal } from '../terminal.ts';

/** Ends a command with the exit status of its work. */
export type Finish = (work: Promise<number>) => Promise<void>;

/** What a group of commands needs. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly finish: Finish;
  layout(): Layout;
}
