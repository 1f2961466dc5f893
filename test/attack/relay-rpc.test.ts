import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import * as raw from '../../services/tool-relay/test/raw-socket.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { relayProgram } from './relay-program.ts';

const STRANGERS = size({ short: 300, long: 3_000 });
const MAX_UNPROVED = 50;
const CONNECTIONS = { connectsPerAddress: 100_000, maxUnproved: MAX_UNPROVED, handshake: '2s' };

test("[RLY-04] hosts find devices while strangers hold the relay's RPC port", {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const relay = await relayProgram(t, {
    engine: 'ws',
    settings: { rpc: { port: 0, connections: CONNECTIONS } },
  });
  await relay.device('honest');
  assert.equal(await relay.locate('honest'), 'relay-under-attack');
  const strangers: Socket[] = [];
  t.after(() => {
    for (const socket of strangers) socket.destroy();
  });
  // Without TLS, and with TLS and no certificate.
  const ways = [raw.openTcp, raw.openTls];
  let located = 0;
  while (strangers.length < STRANGERS) {
    const opened = Array.from({ length: 10 }, (_, i) => ways[i % 2]!(relay.rpcTarget));
    const settled = await Promise.allSettled(opened);
    strangers.push(...settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])));
    assert.equal(await relay.locate('honest'), 'relay-under-attack');
    located += 1;
    assert.ok((await relay.metric('zl_rpc_connections_unproved')) <= MAX_UNPROVED);
  }
  // The last ones are closed when their time for the handshake is over.
  await eventually(async () => (await relay.metric('zl_rpc_connections_open')) === 0);
  assert.ok((await relay.metric('zl_rpc_cut_total')) >= STRANGERS / 2 - MAX_UNPROVED);
  const attack = { attack: "strangers at the relay's RPC port", engine: 'ws' } as const;
  figure(t, {
    ...attack,
    name: 'lookups meanwhile, all answered',
    value: located,
    unit: 'lookups',
  });
});
