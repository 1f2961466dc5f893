import type { Logger } from '@zerolatency/service/telemetry';
import type { Recorder, TurnRecord } from '../../ports.ts';
import type { HostLedger } from './host-ledger.ts';
import { createRecorder, type HostCallLedger } from './records.ts';

/** More turns than these are not recorded while the ledger is away. */
const MAX_WAITING = 1_000;

interface Waiting {
  readonly turn: TurnRecord;
  /** Its calls in the ledger with this id; undefined while nobody could ask. */
  readonly kept?: { readonly ledgerId: string; readonly callIds: readonly string[] };
}

export interface PatientRecorder extends Recorder {
  /** For a ledger that is back: before the calls that it left open are closed. */
  recordWaiting(): void;
}

/** For a ledger that may be away for a while: turns end without it, and are recorded when it is back. */
export function patientRecorder(
  ledger: HostLedger,
  calls: Pick<HostCallLedger, 'keptOf'>,
  log: Pick<Logger, 'error'>,
): PatientRecorder {
  const recorder = createRecorder(ledger);
  const queue = new Map<string, Waiting>();
  const record = async ({ turn, kept: known }: Waiting): Promise<string> => {
    const { ledgerId, failure } = ledger;
    if (failure !== undefined) return wait({ turn, ...(known && { kept: known }) });
    if (ledger.late.has(turn.scope.turnId)) return '';
    const isHere = known === undefined || known.ledgerId === ledgerId;
    const callIds = isHere ? (known?.callIds ?? calls.keptOf(turn.callIds)) : [];
    return recorder
      .recordTurn({ ...turn, callIds })
      .catch(() => wait({ turn, kept: { ledgerId, callIds } }));
  };
  const wait = (one: Waiting): string => {
    const { turnId } = one.turn.scope;
    if (queue.size < MAX_WAITING) queue.set(turnId, one);
    else log.error({ turn_id: turnId }, 'a turn is not recorded: too many wait for the ledger');
    return '';
  };
  return {
    recordTurn: async (turn) => (ledger.isCorrupt ? '' : record({ turn })),
    checkpoint: async () => (ledger.isCorrupt ? '' : recorder.checkpoint()),
    recordWithheld: (...withheld) => {
      if (ledger.failure === undefined) recorder.recordWithheld(...withheld);
    },
    recordWaiting: () => {
      const waiting = [...queue.values()];
      queue.clear();
      for (const one of waiting) void record(one);
    },
  };
}
