import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { listDevices } from '../../services/cli/src/commands/devices.ts';
import { enrolWithoutRegistrar } from '../../services/cli/test/enrolled.ts';
import { addEffectsServer, configOf, editConfig, release, traceOf } from './effects.ts';
import { callIn, startSystem } from './system.ts';

/** A renewal is due after 12 to 14.4 s; what is left then is time for a busy machine. */
const LIFETIME_MS = 24_000;
const SOON = { timeoutMs: 60_000, everyMs: 100 };

test('[BRG-04] a device renews at half of its life, keeps its connection and calls, and dials with the new credential', {
  timeout: 300_000,
}, async (t) => {
  const system = await startSystem(t, {
    services: ['registrar', 'tool-relay', 'model-host'],
    prepare: async (layout) => {
      await addEffectsServer(layout);
      const { config } = layout.registrar;
      const { registrar } = await configOf(config);
      await editConfig(config, {
        registrar: { ...registrar, credentialLifetime: `${LIFETIME_MS / 1000}s` },
      });
    },
  });
  const { layout, settings } = system;
  await enrolWithoutRegistrar(layout, { lifetimeMs: LIFETIME_MS });
  await system.start('device-bridge');
  const epoch = async () => (await listDevices(settings))[0]?.epoch;
  const firstEpoch = await eventually(epoch, SOON);
  const credential = () => readFileSync(layout.device.credential, 'utf8');
  const first = credential();

  const session = await system.chat();
  const running = callIn(session, 'effects.act', { key: 'a', waitMs: 'released', size: '1' });
  await eventually(() => traceOf(layout, 'a').length > 0, SOON);
  await eventually(() => credential() !== first, SOON);
  release(layout, 'a');
  assert.equal((await running).outcome, 'DONE');
  const [old, renewed] = [decodeJwt(first), decodeJwt(credential())];
  assert.deepEqual([renewed.sub, renewed.tenant, renewed.cnf], [old.sub, old.tenant, old.cnf]);
  assert.ok(renewed.exp! > old.exp!);

  // The relay ends a connection whose credential has expired, and the host would not use it.
  await eventually(() => Date.now() > old.exp! * 1000 + 2000, SOON);
  assert.equal(await epoch(), firstEpoch);
  const act = (key: string) => callIn(session, 'effects.act', { key, waitMs: '0', size: '1' });
  assert.equal((await act('b')).outcome, 'DONE');
  await system.stop('tool-relay');
  await system.start('tool-relay');
  await eventually(async () => ((await epoch()) ?? 0n) > firstEpoch, SOON);
  assert.equal((await act('c')).outcome, 'DONE');
  assert.match(await system.log('registrar'), /"credential renewed"/);
});
