// Changes critical code in small ways, one at a time and in a copy, and reports the changes
// that its tests do not notice. `--file <path>` tests every change of one file, `--all` of all.
import { globSync, mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CRITICAL, type CriticalFiles } from './mutate/critical-files.ts';
import { type Mutation, mutated, mutationsOf } from './mutate/mutations.ts';
import { Workbench } from './mutate/workbench.ts';
import { TestRun } from './test-run.ts';

/** A mutant costs from half a second to the 40 s of a survivor in packages/call: within half an hour on two cores. */
const MAX_SAMPLE = 400;
const SEED = 1;
const MIN_KILLED_SHARE = 0.93;
const PROGRESS_EVERY = 25;
/** How much longer than usual the tests of a mutant may take. */
const PATIENCE = 4;
const MIN_TIMEOUT_MS = 15_000;

interface Mutant {
  readonly file: string;
  readonly source: string;
  readonly mutation: Mutation;
  readonly tests: readonly string[];
}

const { values } = parseArgs({ options: { file: { type: 'string' }, all: { type: 'boolean' } } });
const known = CRITICAL.flatMap(mutantsOf);
const wanted = known.filter(({ file }) => values.file === undefined || file === values.file);
const isSample = values.file === undefined && values.all !== true;
const chosen = isSample ? sample(wanted, MAX_SAMPLE) : wanted;
if (chosen.length === 0) throw new Error(`no mutants of ${values.file} in the list`);

const run = TestRun.start();
const queue = [...chosen];
const survivors: Mutant[] = [];
let tested = 0;
const timeouts = new Map<readonly string[], Promise<number>>();
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));
await run.end();
report();

function mutantsOf({ files, tests: patterns }: CriticalFiles): readonly Mutant[] {
  const tests = globSync([...patterns]).sort();
  const sources = globSync(files).filter((file) => !file.endsWith('.test.ts'));
  return sources.sort().flatMap((file) => {
    const source = readFileSync(file, 'utf8');
    return mutationsOf(file, source).map((mutation) => ({ file, source, mutation, tests }));
  });
}

/** The same mutants every time, as long as the code is the same. */
function sample(mutants: readonly Mutant[], size: number): Mutant[] {
  let state = SEED;
  const ranked = mutants.map((mutant) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return { mutant, rank: state };
  });
  ranked.sort((a, b) => a.rank - b.rank);
  return ranked.slice(0, size).map(({ mutant }) => mutant);
}

async function work(_: unknown, index: number): Promise<void> {
  const folder = join(run.folder, `worker-${index}`);
  mkdirSync(folder);
  const bench = new Workbench(folder);
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const { file, source, mutation, tests } = mutant;
    const timeoutMs = await timeoutOf(bench, tests);
    bench.write(file, mutated(source, mutation));
    if (await bench.passes(tests, timeoutMs)) {
      survivors.push(mutant);
      console.log(`survived  ${describe(mutant)}`);
    }
    bench.write(file, source);
    tested++;
    if (tested % PROGRESS_EVERY === 0)
      console.error(`${tested} of ${chosen.length} mutants tested`);
  }
}

/** From the time the tests take without a mutant. */
function timeoutOf(bench: Workbench, tests: readonly string[]): Promise<number> {
  const measured = timeouts.get(tests) ?? measure(bench, tests);
  timeouts.set(tests, measured);
  return measured;
}

async function measure(bench: Workbench, tests: readonly string[]): Promise<number> {
  const startMs = performance.now();
  if (!(await bench.passes(tests, 10 * 60_000))) {
    throw new Error(`the tests fail without a mutant: ${tests.join(' ')}`);
  }
  return Math.max(MIN_TIMEOUT_MS, (performance.now() - startMs) * PATIENCE);
}

function describe({ file, source, mutation }: Mutant): string {
  const line = source.slice(0, mutation.start).split('\n').length;
  const before = source.slice(mutation.start, mutation.end).replace(/\s+/g, ' ').slice(0, 80);
  const around = source.split('\n')[line - 1]?.trim().slice(0, 60);
  return `${file}:${line}  ${before}  ->  ${mutation.replacement}   in: ${around}`;
}

function report(): void {
  console.log();
  for (const [file, mutants = []] of Object.entries(Object.groupBy(chosen, ({ file }) => file))) {
    const alive = survivors.filter((survivor) => survivor.file === file).length;
    console.log(`${file.padEnd(64)}${mutants.length - alive}/${mutants.length}`);
  }
  const killed = chosen.length - survivors.length;
  const share = killed / chosen.length;
  console.log(`killed ${killed} of ${chosen.length}: ${(share * 100).toFixed(1)}%`);
  if (share < MIN_KILLED_SHARE) process.exitCode = 1;
}
