import type { ConnectionState, Machine } from './state.ts';

interface Loss {
  readonly why: string;
  /** Given by a relay that asked us to leave; a backoff otherwise. */
  readonly retryInMs?: number;
}

export function lost(machine: Machine, { why, retryInMs: given }: Loss): ConnectionState {
  const { clock } = machine.deps;
  const retryInMs = given ?? machine.backoff.nextMs();
  const timer = clock.setTimeout(() => machine.redial(), retryInMs);
  return { name: 'lost', why, retryInMs, leave: () => clock.clearTimeout(timer) };
}
