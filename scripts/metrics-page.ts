// Writes docs/metrics.md from the metric contract; with --check only says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';

interface Bound {
  readonly values?: readonly string[];
  readonly bounded_by?: string;
  readonly max?: number;
}

interface Metric {
  readonly help: string;
  readonly services: readonly string[];
  readonly labels: Readonly<Record<string, Bound>>;
}

const PATH = 'docs/metrics.md';
const contract: Record<'counters' | 'gauges' | 'histograms', Record<string, Metric>> = JSON.parse(
  readFileSync('contracts/metrics/metrics.json', 'utf8'),
);

const SERVICES = {
  'model-host': 'On the admin port, `/metrics`.',
  'tool-relay': 'On the admin port, `/metrics`.',
  'device-bridge':
    'A bridge opens no port: a client that connects to `metrics.sock` in its state folder receives one scrape ' +
    '(`nc -U .zl/device/state/metrics.sock` after `make up`).',
};

const kinds = [
  ['counter', contract.counters],
  ['gauge', contract.gauges],
  ['histogram', contract.histograms],
] as const;

function boundOf([name, { values, bounded_by, max }]: [string, Bound]): string {
  const bound = values?.join(', ') ?? `at most ${max}: ${bounded_by}`;
  return `\`${name}\` (${bound})`;
}

function row(name: string, kind: string, { help, labels }: Metric): string {
  const bounds = Object.entries(labels).map(boundOf).join('; ');
  return `| \`${name}\` | ${kind} | ${bounds || 'none'} | ${help.replaceAll('|', '\\|')} |`;
}

function section([service, where]: [string, string]): string {
  const rows = kinds
    .flatMap(([kind, metrics]) =>
      Object.entries(metrics)
        .filter(([, metric]) => metric.services.includes(service))
        .map(([name, metric]) => ({ name, line: row(name, kind, metric) })),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ line }) => line);
  const head = '| name | kind | labels | meaning |\n|---|---|---|---|';
  return `## ${service}\n\n${where}\n\n${head}\n${rows.join('\n')}\n`;
}

const page = `# Metrics

Everything that the services count and time, beside what Node reports of every process (\`process_*\`,
\`nodejs_*\`). Each sample has a label \`service\` too. No label holds a tenant, user, device, session or call.
A value beyond a label's bound is counted as \`other\`. What a labelled counter has not counted yet is not
there, so a chart that is empty may mean none.

Seconds are seconds, and a histogram \`x\` is read as \`x_bucket\`, \`x_sum\` and \`x_count\`. An \`error_id\` is
explained in [errors.md](errors.md).

Written from \`contracts/metrics/metrics.json\` by \`make generate\`.

${Object.entries(SERVICES).map(section).join('\n')}`;

if (process.argv.includes('--check'))
  process.exitCode = readFileSync(PATH, 'utf8') === page ? 0 : 1;
else writeFileSync(PATH, page);
