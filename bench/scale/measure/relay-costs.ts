import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import type { TestDevice } from '@zerolatency/testing';
import { lifetime } from '../../lifetime.ts';
import type { Material } from '../../relay/material.ts';
import { type Program, startProgram } from '../../relay/program.ts';
import { relayWay } from '../../relay/ways.ts';
import type { Constant } from '../costs.ts';
import { LeanDevice } from './lean-device.ts';

const RELAY = 'dist/tool-relay/main.mjs';
const AT_ONCE = 50;
const WARM_UPS = 1000;
const REFUSED = 4000;
const HEARTBEAT_S = 1;
const HEARTBEATS = 6;
const CALLS = 40_000;
const CALLS_AT_ONCE = 64;

/** The relay's configuration with other settings, each section merged with its own. */
export function configured(material: Material, settings: Record<string, object>): string {
  const config = JSON.parse(readFileSync(material.configFile, 'utf8'));
  for (const [section, changes] of Object.entries(settings)) {
    config[section] = { ...config[section], ...changes };
  }
  const file = material.configFile.replace(
    /[^/]+$/,
    `relay-${Object.keys(settings).join('-')}.yaml`,
  );
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** Measures what the relay as it ships spends on arrivals, heartbeats and calls. */
export async function measureRelay(
  material: Material,
  devices: readonly TestDevice[],
): Promise<Constant[]> {
  const refuse = await refusals(material);
  const { tls, proof, heartbeat, clientTls, clientProof } = await arrivals(material, devices);
  const call = await calls(material);
  const accepted = `${devices.length} connections, ${AT_ONCE} at a time`;
  return [
    constant('refuse', refuse, `${REFUSED} TCP connections over the rate of their address`),
    constant('tls', tls - refuse, `${accepted}: up to the challenge, without what a refusal costs`),
    constant('proof', proof - tls, `${accepted}: up to the welcome, without the row above`),
    constant('heartbeat', heartbeat, `${devices.length} idle devices, a ping each second`),
    constant('call', call, `${CALLS} calls of 200 bytes, ${CALLS_AT_ONCE} in flight`),
    constant('clientTls', clientTls, `the clients of the same connections`),
    constant('clientProof', clientProof - clientTls, `the clients of the same connections`),
  ];
}

function constant(name: Constant['name'], value: number, source: string): Constant {
  return { name, value, unit: 'us', source };
}

async function refusals(material: Material): Promise<number> {
  const relay = await startProgram(RELAY, [
    '--config',
    configured(material, { devices: { connectsPerAddress: 1 } }),
  ]);
  const port = Number(new URL(relay.ready.socketUrl ?? '').port);
  const refused = async () => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'close');
  };
  await inTurns(WARM_UPS, refused);
  const beganUs = relay.cpuUs();
  await inTurns(REFUSED, refused);
  const us = (relay.cpuUs() - beganUs) / REFUSED;
  await relay.stop();
  return us;
}

/** Connects all devices, once up to the challenge and once up to the welcome. */
async function arrivals(material: Material, devices: readonly TestDevice[]) {
  const relay = await startProgram(RELAY, [
    '--config',
    // What an arrival costs is measured, also where the machine is too busy for the default.
    configured(material, {
      sockets: { heartbeat: `${HEARTBEAT_S}s` },
      devices: { handshake: '60s' },
    }),
  ]);
  const secureContext = createSecureContext({ ca: material.authority.ca });
  const url = `${relay.ready.socketUrl}/v1/device`;
  const clients: LeanDevice[] = [];
  const open = (identity: TestDevice | undefined) =>
    new Promise<void>((resolve, reject) => {
      const client = new LeanDevice({ url, secureContext, localAddress: '127.0.0.1' }, identity);
      clients.push(client);
      // Without effect on one that has arrived.
      client.onClose = () => reject(new Error('the relay closed the socket of an arriving device'));
      if (identity === undefined) client.onChallenged = resolve;
      else client.onWelcome = resolve;
    });
  const challenged = () => open(undefined);
  const proved = (index: number) => open(devices[index % devices.length]);
  const end = () => {
    for (const client of clients.splice(0)) client.terminate();
  };
  lifetime.after(end);
  await inTurns(WARM_UPS, proved);
  end();
  const tls = await spent(relay, devices.length, challenged);
  end();
  await sleep(500);
  const proof = await spent(relay, devices.length, proved);
  const heartbeat = await heartbeats(relay, devices.length);
  end();
  await relay.stop();
  return {
    tls: tls.relayUs,
    proof: proof.relayUs,
    heartbeat,
    clientTls: tls.clientUs,
    clientProof: proof.clientUs,
  };
}

async function heartbeats(relay: Program, devices: number): Promise<number> {
  await sleep(HEARTBEAT_S * 1000);
  const beganUs = relay.cpuUs();
  await sleep(HEARTBEATS * HEARTBEAT_S * 1000);
  return (relay.cpuUs() - beganUs) / (devices * HEARTBEATS);
}

async function calls(material: Material): Promise<number> {
  const way = await relayWay(material);
  const flood = (count: number) =>
    new Promise<void>((resolve) => {
      let answers = 0;
      way.onAnswer = () => {
        answers += 1;
        if (answers <= count - CALLS_AT_ONCE) way.call();
        if (answers === count) resolve();
      };
      for (let call = 0; call < CALLS_AT_ONCE; call++) way.call();
    });
  await flood(CALLS / 4);
  const beganUs = way.program.cpuUs();
  await flood(CALLS);
  const us = (way.program.cpuUs() - beganUs) / CALLS;
  await way.program.stop();
  return us;
}

async function spent(relay: Program, count: number, open: (index: number) => Promise<void>) {
  const relayBeganUs = relay.cpuUs();
  const client = process.cpuUsage();
  await inTurns(count, open);
  const { user, system } = process.cpuUsage(client);
  return {
    relayUs: (relay.cpuUs() - relayBeganUs) / count,
    clientUs: (user + system) / count,
  };
}

/** A few at a time. */
export async function inTurns(
  total: number,
  open: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < total) {
      next += 1;
      await open(next);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
