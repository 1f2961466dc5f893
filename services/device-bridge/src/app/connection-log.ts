import type { ConnectionState } from '../connection/state.ts';
import type { Log } from '../ports.ts';

/** One line for each state, and what to do where only a person can help. */
export function logConnection(log: Log, state: ConnectionState): void {
  const fields = { connection: state.name };
  switch (state.name) {
    case 'live':
      log.info({ ...fields, relay: state.wire.relay, epoch: state.epoch }, 'live');
      break;
    case 'lost':
      log.warn({ ...fields, why: state.why, retryInMs: state.retryInMs }, 'connection lost');
      break;
    case 'refused':
      log.error(
        { ...fields, errorId: state.error.id, why: state.error.message, help: state.error.help },
        'the device is refused; it will try again when its credential file changes',
      );
      break;
    default:
      log.debug(fields, 'connection state');
  }
}
