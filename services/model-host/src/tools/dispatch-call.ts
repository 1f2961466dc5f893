import type { CallIntent } from '@zerolatency/call';
import type { CallMachine } from './call-machine.ts';
import type { DeviceRoute, DeviceSession } from './ports.ts';
import type { RemoteCall, RemoteEnding } from './remote-call.ts';

export interface Dispatch {
  readonly remote: RemoteCall;
  readonly route: DeviceRoute;
  readonly machine: CallMachine;
  /** Into the ledger, before anything is sent. */
  readonly intend: (intent: CallIntent) => Promise<void> | undefined;
  readonly signal: AbortSignal;
}

/**
 * Sends a call that was decided and validated. With the route up and nothing
 * to wait for in the ledger, the frame is with the kernel before this returns.
 */
export async function dispatchCall(dispatch: Dispatch): Promise<RemoteEnding> {
  const { remote, route, machine, intend, signal } = dispatch;
  let intended: DeviceSession | undefined;
  // A device that comes back with another journal before the call is sent needs another intent.
  while (intended === undefined || route.session !== intended) {
    signal.throwIfAborted();
    const session = route.session ?? (await route.ready(signal));
    if (intended === undefined || !sameJournal(intended, session)) {
      const recorded = intend(remote.intent(session.journalId));
      if (recorded !== undefined) await recorded;
      machine.to('recorded');
    }
    intended = session;
  }
  signal.throwIfAborted();
  return remote.start(signal);
}

function sameJournal(a: DeviceSession, b: DeviceSession): boolean {
  return Buffer.compare(a.journalId, b.journalId) === 0;
}
