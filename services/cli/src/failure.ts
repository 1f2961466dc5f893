import { type ErrorId, fromUnknown, type ZlError } from '@zerolatency/errors';
import { foreignLine } from './foreign-text.ts';
import { exitStatus, type Terminal } from './terminal.ts';

const unreachable: readonly ErrorId[] = ['host.unreachable', 'host.lost', 'relay.unreachable'];

/** The one place where a failure is told; gives the exit status it comes to. */
export function tellFailure(terminal: Terminal, reason: unknown): number {
  const error = fromUnknown(reason);
  terminal.stderr.write(
    `zl: ${error.id}: ${foreignLine(messageOf(error), 2_000)}\n    ${error.help}\n`,
  );
  return unreachable.includes(error.id) ? exitStatus.unreachable : exitStatus.failed;
}

/** At one's own machine the cause of an internal error is no secret. */
function messageOf({ id, message, cause }: ZlError): string {
  return id === 'internal' && cause instanceof Error ? cause.message : message;
}
