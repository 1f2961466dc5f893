// What the relay spends on a device that arrives and proves itself, against accepting a connection of bare TLS.
import { createSecureContext } from 'node:tls';
import type { TestDevice } from '@zerolatency/testing';
import { cleanUp } from './lifetime.ts';
import { type Client, echoedConnection, liveDevice } from './relay/clients.ts';
import { makeMaterial } from './relay/material.ts';
import { type Program, startProgram } from './relay/program.ts';
import { percentile, report } from './report.ts';
import { inTurns } from './scale/measure/relay-costs.ts';

const ROUNDS = 6;
const PER_ROUND = 500;
/** A core accepts 1,000 in a second. */
const GOAL_US = 1000;

/** CPU of the program for each connection, in microseconds. */
async function spentOn(program: Program, open: (index: number) => Promise<Client>) {
  const clients: Client[] = [];
  let next = 0;
  const beganUs = program.cpuUs();
  await inTurns(PER_ROUND, async () => {
    next += 1;
    clients.push(await open(next - 1));
  });
  const us = (program.cpuUs() - beganUs) / PER_ROUND;
  for (const client of clients) client.destroy();
  return us;
}

try {
  const [engine = 'ws'] = process.argv.slice(2);
  const { authority, enrolment, certFile, keyFile, configFile } = await makeMaterial(engine);
  const devices: TestDevice[] = [];
  for (let index = 0; index < PER_ROUND; index += 1) {
    devices.push(await enrolment.device({ deviceId: `device-${index}` }));
  }
  const secureContext = createSecureContext({ ca: authority.ca });
  const floor = await startProgram('bench/floors/tls-floor.ts', [certFile, keyFile]);
  const relay = await startProgram('dist/tool-relay/main.mjs', ['--config', configFile]);
  const url = `${relay.ready.socketUrl}/v1/device`;
  const bare = () =>
    spentOn(floor, () => echoedConnection(Number(floor.ready.port), secureContext));
  const proved = () =>
    spentOn(relay, async (index) => {
      const identity = devices[index];
      if (identity === undefined) throw new Error('fewer devices than connections');
      return liveDevice({ url, secureContext, localAddress: '127.0.0.1' }, identity);
    });
  const samples = { bare: [] as number[], proved: [] as number[] };
  for (let round = -2; round < ROUNDS; round += 1) {
    const [bareUs, provedUs] = [await bare(), await proved()];
    if (round < 0) continue;
    samples.bare.push(bareUs);
    samples.proved.push(provedUs);
  }
  const baseline = percentile(samples.bare, 0.5);
  report({
    name: 'accept',
    method: `CPU of the program, median of ${ROUNDS} rounds of ${PER_ROUND} connections, 50 at a time, in turns; engine ${engine}: TLS, upgrade, credential, proof and lease, against TLS alone; the goal is ${GOAL_US} us`,
    figures: [
      {
        metric: 'CPU per device accepted',
        value: percentile(samples.proved, 0.5),
        unit: 'us',
        baseline,
        goal: Number((GOAL_US / baseline).toPrecision(3)),
      },
    ],
  });
} finally {
  await cleanUp();
}
