import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Constant } from './costs.ts';
import type { Second } from './observer.ts';
import { type Line, svgOf } from './plots.ts';
import { EVENTS, type Event, type Outcome } from './scenarios.ts';
import { ASSUMED } from './setup.ts';
import type { Comparison, Times } from './validation.ts';

const PAGE = 'docs/scale.md';
const PLOTS = 'docs/scale';
const CPU_BOUND = 0.7;

export interface Findings {
  readonly constants: readonly Constant[];
  readonly scenarios: readonly Outcome[];
  readonly sweep: readonly Outcome[];
  readonly comparisons: readonly Comparison[];
}

/** Puts the tables of a run into the page, and draws its plots. */
export function writePage(findings: Findings): void {
  const { constants, scenarios, sweep, comparisons } = findings;
  let page = readFileSync(PAGE, 'utf8');
  const put = (name: string, content: string) => {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
    const [before = '', rest = ''] = page.split(begin);
    page = `${before}${begin}\n${content}\n${end}${rest.split(end)[1] ?? ''}`;
  };
  put('constants', constantsTable(constants));
  put('assumptions', assumptionsTable());
  put('validation', validationTable(comparisons));
  put(
    'scenarios',
    outcomesTable(scenarios, (outcome) => EVENTS[outcome.event]),
  );
  for (const event of ['loss', 'deploy', 'redis', 'join'] as const) {
    put(
      event,
      outcomesTable(
        sweep.filter((outcome) => outcome.event === event),
        ({ name }) => name,
      ),
    );
  }
  writeFileSync(PAGE, page);
  drawPlots(scenarios, sweep);
}

export function outcomesTable(
  outcomes: readonly Outcome[],
  nameOf: (outcome: Outcome) => string,
): string {
  return table(
    [
      'run',
      '99% back',
      'all back',
      'peak dials per pod and second',
      'peak CPU of a pod',
      'pods over 70%',
      'Redis operations per second',
      'calls delayed',
      'dials',
      'cut by a limit',
    ],
    outcomes.map((outcome) => {
      const { result } = outcome;
      return [
        nameOf(outcome),
        seconds(result.p99Ms),
        result.missing > 0
          ? `not in ${seconds(result.endedAtMs)}: ${count(result.missing)} left`
          : seconds(result.allMs),
        count(result.peakDials),
        percent(result.peakCpu),
        result.podsOver70 === 0 ? '**none**' : count(result.podsOver70),
        count(result.peakRedisOperations),
        count(result.callsDelayed),
        count(result.dials),
        count(result.refused),
      ];
    }),
  );
}

export function validationTable(comparisons: readonly Comparison[]): string {
  const times = ({ p50Ms, p99Ms, allMs }: Times) => [p50Ms, p99Ms, allMs].map(seconds);
  return table(
    [
      '2,000 devices, one relay',
      'half back',
      '99% back',
      'all back',
      'core of the relay, of the devices',
    ],
    comparisons.flatMap(({ name, measured, simulated, relayShare, clientShare }) => [
      [`${name}: measured`, ...times(measured), `${percent(relayShare)}, ${percent(clientShare)}`],
      [`${name}: simulated`, ...times(simulated), 'the same'],
    ]),
  );
}

export function constantsTable(constants: readonly Constant[]): string {
  return table(
    ['constant', 'microseconds of a core', 'from'],
    constants.map(({ name, value, source }) => [`\`${name}\``, value.toFixed(1), source]),
  );
}

function assumptionsTable(): string {
  const { callsPerSecond, ...rest } = ASSUMED;
  return table(
    ['assumption', 'value'],
    [
      ...Object.entries(rest).map(([name, value]) => [`\`${name}\``, count(value)]),
      ['calls of a device per minute', count(callsPerSecond * 60)],
    ],
  );
}

function drawPlots(scenarios: readonly Outcome[], sweep: readonly Outcome[]): void {
  mkdirSync(PLOTS, { recursive: true });
  const draw = (file: string, event: Event, what: 'away' | 'cpu' | 'redis') => {
    const shown =
      event === 'loss' || event === 'join' || event === 'redis'
        ? [...scenarios, ...sweep].filter((outcome) => outcome.event === event && !isMinor(outcome))
        : sweep.filter((outcome) => outcome.event === event && !isMinor(outcome));
    const yOf = { away, cpu, redis }[what];
    const lines = shown.slice(0, 5).map(
      ({ name, result }): Line => ({
        name,
        points: thinned(result.seconds).map((second) => [second.atS, yOf(second)]),
      }),
    );
    const labels = {
      away: 'devices away',
      cpu: 'busiest pod, % of its core',
      redis: 'Redis operations per second',
    };
    const bound = what === 'cpu' ? { yMax: 100, limit: CPU_BOUND * 100 } : {};
    const plot = { title: EVENTS[event], xLabel: 'seconds', yLabel: labels[what], lines, ...bound };
    writeFileSync(join(PLOTS, file), svgOf(plot));
  };
  draw('loss-cpu.svg', 'loss', 'cpu');
  draw('loss-dials.svg', 'loss', 'away');
  draw('deploy-cpu.svg', 'deploy', 'cpu');
  draw('redis-operations.svg', 'redis', 'redis');
  draw('join-cpu.svg', 'join', 'cpu');
}

/** Rows whose line lies on that of another. */
function isMinor({ name }: Outcome): boolean {
  return /maximum backoff|jitter 30|written within 5/.test(name);
}

const MAX_POINTS = 300;

function thinned(all: readonly Second[]): readonly Second[] {
  const step = Math.ceil(all.length / MAX_POINTS);
  return all.filter((_, index) => index % step === 0);
}

function away(second: Second): number {
  return second.away;
}

function cpu({ maxCpu }: Second): number {
  return maxCpu * 100;
}

function redis({ redisOperations }: Second): number {
  return redisOperations;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1000).toFixed(1)} s` : 'never';
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

function count(value: number): string {
  return (Math.abs(value) < 10 ? Math.round(value * 100) / 100 : Math.round(value)).toLocaleString(
    'en',
  );
}
