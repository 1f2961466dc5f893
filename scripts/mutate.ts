// Changes critical code in small ways, one at a time and in a copy, and reports the changes
// that its tests do not notice. `--file <path>` tests every change of one file, `--all` of all.
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CRITICAL, type CriticalFiles } from './mutate/critical-files.ts';
import { isEquivalent } from './mutate/equivalent.ts';
import { type Mutation, mutated, mutationsOf } from './mutate/mutations.ts';
import { Workbench } from './mutate/workbench.ts';
import { TestRun } from './test-run.ts';

/** A mutant costs from half a second to the 15 s of a survivor in packages/call: within half an hour on two cores. */
const MAX_SAMPLE = 400;
const MIN_KILLED_SHARE = 0.93;
const PROGRESS_EVERY = 25;
/** How much longer than usual the tests of a mutant may take. */
const PATIENCE = 4;
const MIN_TIMEOUT_MS = 15_000;
const MAX_BASELINE_MS = 600_000;

interface Mutant {
  readonly file: string;
  readonly source: string;
  readonly mutation: Mutation;
  readonly group: CriticalFiles;
  readonly tests: readonly string[];
}

/** A change that `tsc` refuses reaches nobody, and is not counted unless a test failed first. */
type Verdict = 'failed' | 'timed out' | 'not compiled' | 'survived';

const { values } = parseArgs({
  options: { file: { type: 'string', multiple: true }, all: { type: 'boolean' } },
});
const known = CRITICAL.flatMap(mutantsOf);
const wanted = known.filter(({ file }) => values.file?.includes(file) ?? true);
const isSample = values.file === undefined && values.all !== true;
const chosen = isSample ? sample(wanted, MAX_SAMPLE) : wanted;
if (chosen.length === 0) throw new Error(`no mutants of ${values.file} in the list`);

const startMs = performance.now();
const run = TestRun.start();
const benches = await Promise.all(
  Array.from({ length: Math.min(2, availableParallelism()) }, open),
);
const groups = [...new Set(chosen.map(({ group }) => group))];
const timeouts = new Map<CriticalFiles, number>();
await Promise.all(benches.map(measureGroups));
const queue = [...chosen];
const verdicts = new Map<Mutant, Verdict>();
// Ends with the report of what has been tested.
process.once('SIGINT', () => queue.splice(0));
await Promise.all(benches.map(testMutants));
report();
await run.end();

function mutantsOf(group: CriticalFiles): readonly Mutant[] {
  const sources = globSync(group.files).filter((file) => !file.endsWith('.test.ts'));
  return sources.sort().flatMap((file) => {
    const source = readFileSync(file, 'utf8');
    const mutations = mutationsOf(file, source).filter(
      (found) => !isEquivalent(file, source, found),
    );
    const tests = testsOf(group, file);
    return mutations.map((mutation) => ({ file, source, mutation, group, tests }));
  });
}

/** In the order of the list, but the test beside the file first. */
function testsOf({ tests }: CriticalFiles, file?: string): readonly string[] {
  const own = file?.replace(/\.ts$/, '.test.ts');
  const listed = [...new Set(tests.flatMap((pattern) => globSync(pattern).sort()))];
  return listed.toSorted((a, b) => Number(b === own) - Number(a === own));
}

/** The same mutants of a file every time, as long as that file is the same. */
function sample(mutants: readonly Mutant[], size: number): Mutant[] {
  const ranked = mutants.map((mutant) => {
    const { file, mutation } = mutant;
    const place = `${file} ${mutation.start} ${mutation.end} ${mutation.replacement}`;
    return { mutant, rank: createHash('sha256').update(place).digest('hex') };
  });
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  return ranked.slice(0, size).map(({ mutant }) => mutant);
}

async function open(_: unknown, index: number): Promise<Workbench> {
  const folder = join(run.folder, `worker-${index}`);
  mkdirSync(folder);
  const bench = new Workbench(folder);
  if (!(await bench.compiles())) throw new Error('the code does not compile without a mutant');
  return bench;
}

async function measureGroups(bench: Workbench): Promise<void> {
  for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
    // Once more: a test that compares times may fail while the machine is busy.
    const usualMs = (await timeOf(bench, group)) ?? (await timeOf(bench, group));
    if (usualMs === undefined)
      throw new Error(`without a mutant these fail: ${group.tests.join(' ')}`);
    timeouts.set(group, Math.max(MIN_TIMEOUT_MS, usualMs * PATIENCE));
  }
}

/** How long the tests take; undefined if one fails. */
async function timeOf(bench: Workbench, group: CriticalFiles): Promise<number | undefined> {
  const startMs = performance.now();
  const result = await bench.test(testsOf(group), MAX_BASELINE_MS);
  return result === 'passed' ? performance.now() - startMs : undefined;
}

async function testMutants(bench: Workbench): Promise<void> {
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    bench.write(mutant.file, mutated(mutant.source, mutant.mutation));
    const verdict = await verdictOf(bench, mutant);
    bench.write(mutant.file, mutant.source);
    verdicts.set(mutant, verdict);
    if (verdict !== 'failed') console.log(`${verdict.padEnd(14)}${describe(mutant)}`);
    if (verdicts.size % PROGRESS_EVERY === 0) {
      console.error(`${verdicts.size} of ${chosen.length} mutants tested`);
    }
  }
}

async function verdictOf(bench: Workbench, { group, tests }: Mutant): Promise<Verdict> {
  const result = await bench.test(tests, timeouts.get(group) ?? MIN_TIMEOUT_MS);
  if (result !== 'passed') return result;
  return (await bench.compiles()) ? 'survived' : 'not compiled';
}

function describe({ file, source, mutation }: Mutant): string {
  const line = source.slice(0, mutation.start).split('\n').length;
  const before = source.slice(mutation.start, mutation.end).replace(/\s+/g, ' ').slice(0, 80);
  const around = source.split('\n')[line - 1]?.trim().slice(0, 60);
  return `${file}:${line}  ${before}  ->  ${mutation.replacement}   in: ${around}`;
}

function report(): void {
  const tested = [...verdicts.keys()].sort((a, b) => (a.file < b.file ? -1 : 1));
  const minutes = ((performance.now() - startMs) / 60_000).toFixed(1);
  console.log();
  printRow('', 'killed', 'of', 'by time', 'not compiled');
  for (const [file, mutants = []] of Object.entries(Object.groupBy(tested, ({ file }) => file))) {
    printCounts(file, mutants);
  }
  const { killed, counted } = printCounts(`all, in ${minutes} minutes`, tested);
  const share = killed / counted;
  console.log(`killed ${killed} of ${counted}: ${(share * 100).toFixed(1)}%`);
  if (tested.length < chosen.length) console.log(`${chosen.length - tested.length} are not tested`);
  if (share < MIN_KILLED_SHARE || tested.length < chosen.length) process.exitCode = 1;
}

function printCounts(name: string, mutants: readonly Mutant[]) {
  const countOf = (verdict: Verdict) =>
    mutants.filter((mutant) => verdicts.get(mutant) === verdict).length;
  const late = countOf('timed out');
  const refused = countOf('not compiled');
  const killed = countOf('failed') + late;
  const counted = mutants.length - refused;
  printRow(name, killed, counted, late, refused);
  return { killed, counted };
}

function printRow(name: string, ...cells: readonly (string | number)[]): void {
  console.log(name.padEnd(62) + cells.map((cell) => String(cell).padStart(13)).join(''));
}
