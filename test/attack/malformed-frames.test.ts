import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { addEffectsServer, configOf, editConfig } from '../e2e/effects.ts';
import { RelayPeers } from '../e2e/relay-peers.ts';
import { callIn, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const SOCKETS = size({ short: 300, long: 3_000 });
const AT_A_TIME = 10;

for (const engine of ['uws', 'ws'] as const) {
  const title = `[RLY-01] calls succeed while strangers send malformed frames (${engine})`;
  test(title, { timeout: TIMEOUT_MS }, async (t) => {
    const system = await startSystem(t, {
      async prepare(layout) {
        await addEffectsServer(layout);
        const { sockets } = await configOf(layout.relay.config);
        // As if they dialled from many addresses.
        const devices = { connectsPerAddress: 100_000 };
        await editConfig(layout.relay.config, { sockets: { ...sockets, engine }, devices });
      },
    });
    const peers = await RelayPeers.of(t, system);
    let refused = 0;
    const stranger = async () => {
      for (let dialled = 0; dialled < SOCKETS / AT_A_TIME; dialled++) {
        const client = peers.device();
        await client.challenge();
        client.native.send(randomBytes(300));
        if ((await client.end()).code === 4400) refused++;
      }
    };
    const session = await system.chat();
    let isOver = false;
    const strangers = Promise.all(Array.from({ length: AT_A_TIME }, stranger)).then(() => {
      isOver = true;
    });
    const outcomes: string[] = [];
    while (!isOver) {
      outcomes.push((await callIn(session, 'fs.read', { path: 'welcome.txt' })).outcome);
    }
    await strangers;
    assert.equal(refused, SOCKETS);
    assert.ok(outcomes.length > 0);
    assert.deepEqual(
      outcomes.filter((outcome) => outcome !== 'DONE'),
      [],
    );
    const attack = { attack: 'malformed frames', engine };
    figure(t, { ...attack, name: 'sockets closed with 4400', value: refused, unit: 'sockets' });
    figure(t, {
      ...attack,
      name: 'calls meanwhile, all done',
      value: outcomes.length,
      unit: 'calls',
    });
  });
}
