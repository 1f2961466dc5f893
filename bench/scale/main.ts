// Simulates a million devices over 50 relay pods with constants of this machine, compares the model with
// real relays at small scale, and writes docs/scale.md, its plots and bench/out/scale.json.
import { spawnSync } from 'node:child_process';
import type { TestDevice } from '@zerolatency/testing';
import { cleanUp } from '../lifetime.ts';
import { type Material, makeMaterial } from '../relay/material.ts';
import { writeReport } from '../report.ts';
import { costsOf } from './costs.ts';
import { measureRedis } from './measure/redis-costs.ts';
import { measureRelay } from './measure/relay-costs.ts';
import { constantsTable, outcomesTable, validationTable, writePage } from './page.ts';
import { executeAll } from './parallel.ts';
import { defaults, EVENTS, type Outcome, scenarios, sweep } from './scenarios.ts';
import { type Comparison, validate } from './validation.ts';

const REAL_DEVICES = 2000;

async function enrol(material: Material): Promise<TestDevice[]> {
  const devices: TestDevice[] = [];
  for (let index = 0; index < REAL_DEVICES; index++) {
    devices.push(await material.enrolment.device({ deviceId: `device-${index}` }));
  }
  return devices;
}

function progress({ event, name }: Outcome): void {
  console.error(`simulated: ${EVENTS[event]}, ${name}`);
}

const bundled = spawnSync(process.execPath, ['scripts/bundle.ts'], { stdio: 'inherit' });
if (bundled.status !== 0) process.exit(1);

const material = await makeMaterial('auto');
const devices = await enrol(material);
const constants = [...(await measureRedis()), ...(await measureRelay(material, devices))];
console.log(constantsTable(constants));
const costs = costsOf(constants);
const base = defaults(costs);

const comparisons: Comparison[] = [];
for (const trial of [
  { name: 'an address each', isOneAddress: false },
  { name: 'one address for all', isOneAddress: true },
]) {
  comparisons.push(await validate(trial, { material, devices, base }));
}
await cleanUp();
console.log(validationTable(comparisons));

const beganMs = performance.now();
const simulated = await executeAll(scenarios(), costs, progress);
console.log(outcomesTable(simulated, ({ event }) => EVENTS[event]));
const swept = await executeAll(sweep(base), costs, progress);
console.log(outcomesTable(swept, ({ event, name }) => `${event}: ${name}`));
console.log(`simulated in ${Math.round((performance.now() - beganMs) / 1000)} s`);

writePage({ constants, scenarios: simulated, sweep: swept, comparisons });
const bare = ({ event, name, result: { seconds, ...result } }: Outcome) => ({
  event,
  name,
  lastsS: seconds.length,
  ...result,
});
writeReport({
  name: 'scale',
  method: 'discrete-event simulation of 1,000,000 devices over 50 pods; docs/scale.md explains it',
  figures: [...constants, ...comparisons, ...[...simulated, ...swept].map(bare)],
});
