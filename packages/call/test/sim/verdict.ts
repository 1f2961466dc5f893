import { MAX_ENTRIES, type SimDevice, WAKING_MS } from './device.ts';
import { MAX_BYTES } from './host.ts';
import type { Network } from './network.ts';
import type { CallPlan, Schedule } from './schedule.ts';
import type { Witness } from './witness.ts';

/** Cuts heal and questions are asked again well within this. */
const CALM_MS = 1_900;

interface Ended {
  readonly witness: Witness;
  readonly network: Network;
  readonly device: SimDevice;
}

/** What must hold when everything has come to rest. */
export function checkEnd({ witness, network, device }: Ended, schedule: Schedule): void {
  for (const [callId, { intent, executions, outcome }] of witness.calls) {
    if (outcome === undefined && (intent || executions.length > 0)) {
      witness.violate(callId, 'was sent and has no outcome');
    }
  }
  if ([...device.journal.load()].length > 0) witness.violate('?', 'entries are never forgotten');
  const disturbedMs = disturbedUntil(schedule, network.lastFaultMs);
  if (disturbedMs === undefined || witness.calls.size > MAX_ENTRIES) return;
  for (const [callId, { plan, outcome }] of witness.calls) {
    const readyMs = Math.max(plan.atMs, disturbedMs) + plan.decideMs + plan.workMs + CALM_MS;
    if (plan.isOlder || readyMs > plan.atMs + plan.timeoutMs) continue;
    const expected = expectedOf(plan);
    if (outcome?.status !== expected) {
      witness.violate(callId, `could be ${expected} and is ${outcome?.status}`);
    }
  }
}

function expectedOf({ isDenied, resultBytes }: CallPlan): string {
  if (isDenied) return 'denied';
  return resultBytes > MAX_BYTES ? 'failed' : 'done';
}

/** Until when only hops failed; undefined when more than that happened. */
function disturbedUntil(schedule: Schedule, lastFaultMs: number): number | undefined {
  let untilMs = lastFaultMs;
  for (const step of schedule) {
    if (step.do === 'call' || 'frame' in step) continue;
    // No clock that is wrong, or set while calls run, is a disturbance.
    if (step.do === 'clock' || step.do === 'skew') continue;
    if (step.do === 'sleep') {
      untilMs = Math.max(untilMs, step.atMs) + step.forMs + WAKING_MS;
      continue;
    }
    if (step.do === 'hand-over') {
      untilMs = Math.max(untilMs, step.atMs + step.failsMs);
      continue;
    }
    if (step.do !== 'cut' && step.do !== 'relay crash') return undefined;
    untilMs = Math.max(untilMs, step.atMs + step.downMs);
  }
  return untilMs;
}
