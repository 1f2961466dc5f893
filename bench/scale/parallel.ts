import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Costs } from './costs.ts';
import type { Result } from './observer.ts';
import { defaults, execute, type Outcome, type Run } from './scenarios.ts';

/** Runs on all cores; the results are in the order of the runs. */
export async function executeAll(
  runs: readonly Run[],
  costs: Costs,
  onDone: (outcome: Outcome) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const work = async () => {
    for (;;) {
      const index = next;
      const run = runs[index];
      next += 1;
      if (run === undefined) return;
      const outcome = { ...run, result: await inWorker(run, costs) };
      outcomes[index] = outcome;
      onDone(outcome);
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, work));
  return outcomes;
}

function inWorker(run: Run, costs: Costs): Promise<Result> {
  return new Promise((resolve, reject) => {
    // A thread each gives back its memory.
    const worker = new Worker(new URL(import.meta.url), { workerData: { run, costs } });
    worker.on('message', resolve);
    worker.on('error', reject);
  });
}

if (!isMainThread) {
  const { run, costs } = workerData as { run: Run; costs: Costs };
  parentPort?.postMessage(execute(run, defaults(costs)));
}
