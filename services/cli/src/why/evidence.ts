import { ZlError } from '@zerolatency/errors';
import {
  type LedgerRecord,
  type LedgerSource,
  peekReceipt,
  readLedger,
  segmentStarts,
} from '@zerolatency/ledger';
import { LogFile, type LogLine } from '../commands/logs.ts';
import type { Layout } from '../installation/layout.ts';
import { componentsOf } from '../installation/processes.ts';

/** The end of each log that is searched. */
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/** Turns that may be under way beside the one that is asked for. */
const MAX_TURNS_KEPT = 64;

/** What ledger and logs hold about the last turns, and about those that an id names. */
export interface Evidence {
  /** By turn, the one with the newest record last. */
  readonly turns: ReadonlyMap<string, readonly LedgerRecord[]>;
  /** From all components, by time. */
  readonly lines: readonly LogLine[];
  /** Why the ledger could not be read to its end. */
  readonly ledgerFault: string | undefined;
}

/** Needs no running program. An id is a turn or a call, or the beginning of one. */
export async function readEvidence(
  layout: Layout,
  id: string | undefined,
  ledger: string | LedgerSource = layout.host.ledger,
): Promise<Evidence> {
  const files = componentsOf(layout).map(
    (component) => new LogFile(component, layout.log(component), MAX_LOG_BYTES),
  );
  const lines = (await Promise.all(files.map((file) => file.next()))).flat();
  lines.sort((a, b) => (a.time < b.time ? -1 : 1));
  return { lines, ...(await readTurns(ledger, id)) };
}

const WHOLE_ID = /^[0-9a-f]{32}$/;

/** Reads the newest segments alone, where these hold the turn from its beginning. */
async function readTurns(
  ledger: string | LedgerSource,
  id: string | undefined,
): Promise<Pick<Evidence, 'turns' | 'ledgerFault'>> {
  const starts = await segmentStarts(ledger).catch(() => []);
  // The first digits of an id may begin an older one too.
  const mayStopEarly = id === undefined || WHOLE_ID.test(id);
  for (let segments = mayStopEarly ? 1 : starts.length; ; segments *= 2) {
    const turns = new TurnRecords(id);
    const from = starts.at(-segments) ?? 0;
    let ledgerFault: string | undefined;
    try {
      for await (const { record } of readLedger(ledger, { from })) turns.add(record);
    } catch (reason) {
      // The logs may say more than a ledger that cannot be read.
      if (!(reason instanceof Error)) throw reason;
      ledgerFault = reason instanceof ZlError ? `${reason.id}: ${reason.message}` : reason.message;
    }
    if (from === 0 || turns.isWhole) return { turns: turns.kept, ledgerFault };
  }
}

class TurnRecords {
  readonly kept = new Map<string, LedgerRecord[]>();
  #oldestAt: string | undefined;
  readonly #id: string | undefined;
  readonly #named = new Set<string>();

  constructor(id: string | undefined) {
    this.#id = id;
  }

  /** Whether what was read goes back to before the turn began. */
  get isWhole(): boolean {
    const turnIds = this.#id === undefined ? [...this.kept.keys()].slice(-1) : [...this.#named];
    const ends = turnIds.flatMap((turnId) => this.kept.get(turnId) ?? []);
    const end = ends.find((record) => record.kind === 'turn');
    return end?.kind === 'turn' && (this.#oldestAt ?? '') < end.body.startedAt;
  }

  add(record: LedgerRecord): void {
    this.#oldestAt ??= record.at;
    const { turnId, callId } = idsOf(record);
    if (turnId === undefined) return;
    const records = this.kept.get(turnId) ?? [];
    records.push(record);
    // A map is in the order of insertion.
    this.kept.delete(turnId);
    this.kept.set(turnId, records);
    if (isNamed(turnId, this.#id) || isNamed(callId, this.#id)) this.#named.add(turnId);
    if (this.kept.size <= MAX_TURNS_KEPT + this.#named.size) return;
    const oldest = [...this.kept.keys()].find((one) => !this.#named.has(one));
    if (oldest !== undefined) this.kept.delete(oldest);
  }
}

/** The turn and the call that a record is about. */
export function idsOf(record: LedgerRecord): { turnId?: string; callId?: string } {
  if (record.kind === 'call.receipt') {
    const { callId, receipt } = record.body;
    const turnId = peekReceipt(receipt)?.turnId;
    return { callId, ...(turnId !== undefined && { turnId }) };
  }
  const { body } = record;
  return {
    ...('turnId' in body && body.turnId !== undefined && { turnId: body.turnId }),
    ...('callId' in body && { callId: body.callId }),
  };
}

export function isNamed(id: unknown, by: string | undefined): boolean {
  return by !== undefined && typeof id === 'string' && id.startsWith(by);
}
