import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import {
  type CertFiles,
  makeAuthority,
  makeEnrolment,
  type TestDevice,
  tempDir,
} from '@zerolatency/testing';
import { createLocalJWKSet } from 'jose';
import type { RelayMetrics } from '../../src/adapters/relay/link.ts';
import {
  createRelayClient,
  type RelayClient,
  type RelayClientOptions,
} from '../../src/adapters/relay/relay-client.ts';
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
  enrol(deviceId: string, options?: { tenant?: string; expiresInMs?: number }): Promise<TestDevice>;
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
