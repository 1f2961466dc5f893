import { foreignLine } from '@zerolatency/redaction';
import type { ConsoleOverview } from '../../../../contracts/gen/overview.d.ts';
import type { EndedCall } from '../calls/ports.ts';
import type { TurnScope } from '../ports.ts';
import { isEnd, type TurnState } from '../turn/state.ts';

/** A turn as the console shows it. */
export type TurnView = ConsoleOverview['turns'][number];
type CallView = TurnView['calls'][number];
type PhaseView = TurnView['phases'][number];

/** All as the schema of the overview says. */
const MAX_TURNS = 50;
const MAX_CALLS = 64;
const MAX_PHASES = 64;
const MAX_ROLES = 32;

/** Bounds names that a client or a model chose. */
const MAX_NAME_CHARS = 200;

interface TurnEnding {
  readonly outcome: TurnView['outcome'];
  /** 'none' when done. */
  readonly errorId: string;
  /** Empty when the ledger has no record of the turn. */
  readonly auditId: string;
}

/** Takes what one turn reports. */
export interface TurnTrace {
  entered(state: TurnState): void;
  providerBegan(seconds: number): void;
  ended(end: TurnEnding): void;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface KeptTurn extends Writable<Omit<TurnView, 'phases' | 'calls'>> {
  readonly roles: readonly string[];
  readonly startedAtMs: number;
  /** Until the turn has ended. */
  readonly sinceStartUs: () => number;
  readonly phases: Writable<PhaseView>[];
  readonly calls: CallView[];
}

/** The latest turns of this process with names and times, and without anything that was said. */
export class RecentTurns {
  readonly #turns = new Map<string, KeptTurn>();

  began({ identity, sessionId, turnId, deviceId }: TurnScope, model: string): TurnTrace {
    const startedAtMs = Date.now();
    const startedTickMs = performance.now();
    const turn: KeptTurn = {
      turnId,
      sessionId: nameOf(sessionId),
      tenant: nameOf(identity.tenant),
      user: nameOf(identity.user),
      roles: identity.roles.slice(0, MAX_ROLES).map(nameOf),
      deviceId: nameOf(deviceId),
      model: nameOf(model),
      ...{ outcome: 'running', errorId: '', isRecorded: false },
      ...{ startedAtMs, startedAt: new Date(startedAtMs).toISOString(), elapsedUs: 0 },
      sinceStartUs: () => microseconds(performance.now() - startedTickMs),
      phases: [],
      calls: [],
      callsLeftOut: 0,
    };
    this.#turns.set(turnId, turn);
    for (const oldest of this.#turns.keys()) {
      if (this.#turns.size <= MAX_TURNS) break;
      this.#turns.delete(oldest);
    }
    return traceOf(turn);
  }

  /** A call of a turn that is kept no longer is dropped. */
  called({ callId, tool, scope, decision, result, startedMs, isSignedByDevice }: EndedCall): void {
    const turn = this.#turns.get(scope.turnId);
    if (turn === undefined) return;
    if (turn.calls.length >= MAX_CALLS) {
      turn.callsLeftOut += 1;
      return;
    }
    const { outcome, error, totalUs, remoteUs, deviceUs, serverUs, receiptJson } = result;
    const signedBy = isSignedByDevice ? 'host and device' : 'host';
    turn.calls.push({
      callId,
      tool: nameOf(tool),
      outcome,
      errorId: error?.id ?? '',
      effect: decision?.effect ?? 'undecided',
      ruleId: decision?.ruleId ?? '',
      receipt: receiptJson === '' ? 'missing' : signedBy,
      startUs: microseconds(startedMs - turn.startedAtMs),
      ...{ totalUs, remoteUs, deviceUs, serverUs },
    });
  }

  latestFirst(): TurnView[] {
    return [...this.#turns.values()].reverse().map(viewOf);
  }

  /** Who had these turns, latest first. */
  subjects(): ConsoleOverview['subjects'] {
    const subjects = [...this.#turns.values()].reverse().map(({ tenant, user, roles }) => {
      return { tenant, user, roles };
    });
    return [...new Map(subjects.map((each) => [JSON.stringify(each), each])).values()];
  }
}

function traceOf(turn: KeptTurn): TurnTrace {
  let phase: Writable<PhaseView> = { name: 'admitted', startUs: 0, elapsedUs: 0 };
  turn.phases.push(phase);
  return {
    entered(state) {
      const nowUs = turn.sinceStartUs();
      phase.elapsedUs = nowUs - phase.startUs;
      if (isEnd(state)) return;
      phase = { name: state.at, startUs: nowUs, elapsedUs: 0 };
      if (turn.phases.length < MAX_PHASES) turn.phases.push(phase);
    },
    providerBegan(seconds) {
      phase.firstPartUs ??= microseconds(seconds * 1000);
    },
    ended({ outcome, errorId, auditId }) {
      turn.elapsedUs = turn.sinceStartUs();
      turn.outcome = outcome;
      turn.errorId = errorId === 'none' ? '' : errorId;
      turn.isRecorded = auditId !== '';
    },
  };
}

function viewOf(turn: KeptTurn): TurnView {
  const { startedAtMs: _, roles: __, sinceStartUs, ...view } = turn;
  const calls = [...turn.calls];
  if (turn.outcome !== 'running') return { ...view, calls, phases: [...turn.phases] };
  const elapsedUs = sinceStartUs();
  const phases = turn.phases.map((phase, index) => {
    const runs = index === turn.phases.length - 1 && phase.elapsedUs === 0;
    return runs ? { ...phase, elapsedUs: elapsedUs - phase.startUs } : { ...phase };
  });
  return { ...view, calls, phases, elapsedUs };
}

/** Cut first, because reading a text costs by its length. */
function nameOf(text: string): string {
  return foreignLine(text.slice(0, MAX_NAME_CHARS));
}

/** The two clocks of a turn and its calls may differ by a little. */
function microseconds(ms: number): number {
  return Math.max(0, Math.round(ms * 1000));
}
