import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { tempDir } from '@zerolatency/testing';
import type { Service } from '../../services/cli/src/installation/processes.ts';
import { addEffectsServer, traceOf } from '../e2e/effects.ts';
import { CALL_SERVICES, type Lifetime, mainOf, runTurn, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const HOUR_MS = 60 * 60 * 1000;
const CALLS = size({ short: 3, long: 100 });
const POLL_MS = 10;

/** The services, each with a time of day that is as many milliseconds off as its file says. */
async function clockedPrograms(t: Lifetime) {
  const dir = tempDir(t);
  const set = (service: Service, offMs: number) => writeFile(join(dir, service, 'off'), `${offMs}`);
  for (const service of CALL_SERVICES) {
    await mkdir(join(dir, service));
    await set(service, 0);
    await writeFile(join(dir, service, 'main.mjs'), programOf(service));
  }
  return { programs: dir, set };
}

function programOf(service: Service): string {
  return `
import { readFileSync } from 'node:fs';
const read = () => Number(readFileSync(new URL('off', import.meta.url), 'utf8'));
const RealDate = Date;
let off = read();
setInterval(() => { off = read(); }, ${POLL_MS}).unref();
globalThis.Date = class extends RealDate {
  constructor(...args) { super(...(args.length === 0 ? [RealDate.now() + off] : args)); }
  static now() { return RealDate.now() + off; }
};
await import(${JSON.stringify(pathToFileURL(mainOf(service)).href)});
`;
}

test('[RLY-05] no call fails because the clock of a device or host is wrong or set', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const { programs, set } = await clockedPrograms(t);
  await set('device-bridge', 3 * HOUR_MS);
  const system = await startSystem(t, { programs, prepare: addEffectsServer });
  const shown = await system.zl('status');
  assert.match(shown.stdout, /its clock is 3 h ahead of the relay's/);
  // Set before the host dials its relay.
  await set('model-host', -HOUR_MS);
  const session = await system.chat();
  const outcomes: string[] = [];
  const act = async (during = async () => {}) => {
    const key = randomUUID().replaceAll('-', '');
    const turn = runTurn(session, `act ${key} 20 300`);
    await during();
    const { calls } = await turn;
    outcomes.push(...calls.map(({ outcome, errorId }) => `${outcome} ${errorId}`.trim()));
    assert.deepEqual(traceOf(system.layout, key), ['began', 'ended']);
  };
  const attacks = {
    'a device ahead, and a host behind': async () => {},
    'a device set back by three hours': () => set('device-bridge', 0),
    'a device set ahead by an hour': () => set('device-bridge', HOUR_MS),
    'a host set ahead by two hours': () => set('model-host', HOUR_MS),
    'a host set back by two hours': () => set('model-host', -HOUR_MS),
    'a relay an hour ahead': () => set('tool-relay', HOUR_MS),
  };
  for (const [attack, during] of Object.entries(attacks)) {
    outcomes.length = 0;
    await act(during);
    for (let call = 1; call < CALLS; call += 1) await act();
    const done = outcomes.filter((outcome) => outcome === 'DONE').length;
    figure(t, { attack, name: 'calls that were done', value: done / CALLS, unit: 'of 1' });
    assert.deepEqual(outcomes, Array(CALLS).fill('DONE'), attack);
  }
  session.close();
});
