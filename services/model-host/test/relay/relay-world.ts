import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { callIdFromKey, type Frame, FrameKind, NO_PAYLOAD } from '@zerolatency/frame';
import {
  type CertFiles,
  makeAuthority,
  makeEnrolment,
  type TestDevice,
  type TestKey,
  tempDir,
} from '@zerolatency/testing';
import { createLocalJWKSet } from 'jose';
import type { RelayMetrics } from '../../src/adapters/relay/link.ts';
import {
  createRelayClient,
  type RelayClient,
  type RelayClientOptions,
} from '../../src/adapters/relay/relay-client.ts';
import type { DeviceConnection, DeviceRoute } from '../../src/executors/device/remote-call.ts';
import { EchoDevice } from './echo-device.ts';
import { FakeDirectory } from './fake-directory.ts';
import { LinkRelay } from './link-relay.ts';

export interface RelayWorld {
  readonly directory: FakeDirectory;
  readonly relays: readonly LinkRelay[];
  readonly devices: RelayClient;
  /** The hosts' certificate. */
  readonly client: CertFiles;
  /** Another host with links of its own. */
  host(options?: Partial<RelayClientOptions>): RelayClient;
  enrol(
    deviceId: string,
    options?: { tenant?: string; expiresInMs?: number; deviceKey?: TestKey },
  ): Promise<TestDevice>;
}

export const NO_RELAY_METRICS: RelayMetrics = {
  linksOpen() {},
  linkRoundTrip() {},
  deviceSkew() {},
  frameIgnored() {},
};

const silent = { info() {}, warn() {} };

/** Two relay pods and a host under one authority; all of them close with the test. */
export async function relayWorld(
  t: TestContext,
  options: Partial<RelayClientOptions> = {},
): Promise<RelayWorld> {
  const dir = tempDir(t);
  const [authority, enrolment] = await Promise.all([makeAuthority(dir), makeEnrolment(dir)]);
  const [server, client] = await Promise.all([authority.server(), authority.client('host-1')]);
  const directory = new FakeDirectory();
  const relays = await startRelays(['relay-a', 'relay-b'], server, directory);
  const keys = createLocalJWKSet(JSON.parse(readFileSync(enrolment.jwksFile, 'utf8')));
  const hosts: RelayClient[] = [];
  const host = (more: Partial<RelayClientOptions> = {}) => {
    const devices = createRelayClient({
      urls: relays.map(({ rpcUrl }) => rpcUrl),
      tls: { current: () => client },
      deviceKeys: () => keys,
      log: silent,
      metrics: NO_RELAY_METRICS,
      ...options,
      ...more,
    });
    hosts.push(devices);
    return devices;
  };
  t.after(async () => {
    for (const devices of hosts) devices.close();
    await Promise.all(relays.map((relay) => relay.kill()));
  });
  const enrol: RelayWorld['enrol'] = (deviceId, more = {}) =>
    enrolment.device({ deviceId, ...more });
  return { directory, relays, client, devices: host(), host, enrol };
}

function startRelays(names: readonly string[], files: CertFiles, directory: FakeDirectory) {
  return Promise.all(names.map((name) => new LinkRelay(name, files, directory).listen()));
}

/** A device behind the first of two relay pods. */
export async function oneDevice(t: TestContext, options: Partial<RelayClientOptions> = {}) {
  const world = await relayWorld(t, options);
  const enrolled = await world.enrol('laptop');
  const device = new EchoDevice(enrolled);
  const [relay, other] = world.relays;
  relay!.connect(device);
  return { ...world, key: enrolled.key, device, relay: relay!, other: other! };
}

/** A call on the route, and what it hears of it. */
export function attach(route: DeviceRoute) {
  const callId = randomBytes(16).toString('hex');
  const frames: Frame[] = [];
  const log: string[] = [];
  let session: DeviceConnection | undefined;
  route.attach(callId, {
    onFrame: (frame) => frames.push(frame),
    onRouteUp: (up) => {
      session = up;
      log.push(`up ${up.epoch}`);
    },
    onRouteLost: () => log.push('lost'),
  });
  const send = (offset: number) => {
    const { device, epoch } = session!;
    const head = { kind: FrameKind.CREDIT, flags: 0, callId: callIdFromKey(callId) };
    route.send({ ...head, device, epoch, offset, payload: NO_PAYLOAD });
  };
  return { callId, frames, log, send };
}
