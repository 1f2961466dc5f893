import { fromUnknown } from '@zerolatency/errors';

export interface MainProcess {
  readonly stderr: { write(text: string): unknown };
  exitCode?: number | string | null | undefined;
}

/** Runs a program to its exit code. What fails before there is a log is told to whoever typed the command. */
export async function runMain(own: MainProcess, main: () => Promise<number>): Promise<void> {
  try {
    own.exitCode = await main();
  } catch (reason) {
    const { id, message, help, cause } = fromUnknown(reason);
    // The message of a defect says nothing to strangers; here it is our own operator who reads.
    const detail = id === 'internal' && cause instanceof Error ? `\n${cause.stack}` : '';
    own.stderr.write(`${id}: ${message}${detail}\n${help}\n`);
    own.exitCode = 1;
  }
}
