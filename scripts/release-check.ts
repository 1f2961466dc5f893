// Holds today's contracts to those of the latest release: what was accepted then is accepted now,
// and no name that programs, dashboards or alerts rely on is gone. The wire is buf's to compare.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOGUE } from '../packages/errors/src/index.ts';
import { errorFaults, metricFaults, schemaFault } from './contract-compatibility.ts';
import { latestRelease } from './releases.ts';

const METRICS = 'contracts/metrics/metrics.json';
const release = latestRelease();

const faults = [
  ...readdirSync(join(release, 'contracts'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.schema.json'))
    .flatMap((path) => faultOf(join('contracts', path))),
  ...metricFaults(readJson(join(release, METRICS)), readJson(METRICS)),
  ...errorFaults(readJson(join(release, 'errors.json')), CATALOGUE),
];
for (const fault of faults) console.log(fault);
process.exitCode = faults.length === 0 ? 0 : 1;

function faultOf(path: string): string[] {
  if (!existsSync(path)) return [`${path} is gone; a released contract stays`];
  const fault = schemaFault(readJson(join(release, path)), readJson(path));
  return fault === undefined ? [] : [`${path}: ${fault}`];
}

function readJson(path: string) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
