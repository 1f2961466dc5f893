import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { DescService, JsonValue } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { FrameKind } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import { Lifecycle } from '@zerolatency/service/lifecycle';
import { createLogger, createRegistry, createTracing } from '@zerolatency/service/telemetry';
import { clientTlsOptions } from '@zerolatency/service/tls';
import {
  makeAuthority,
  makeEnrolment,
  type TestAuthority,
  type TestDevice,
  type TestEnrolment,
  tempDir,
} from '@zerolatency/testing';
import { type RelayAddresses, startRelay } from '../src/app.ts';
import { readRelayConfig } from '../src/config.ts';
import type { Machine } from '../src/sockets/capacity.ts';
import { DeviceClient, type HelloFields } from './device-client.ts';
import { openSocket } from './frame-socket.ts';
import { HostClient, type OpenDevice } from './host-client.ts';
import { StreamClient } from './stream-client.ts';

export const RELAY_ID = 'relay-under-test';

export interface WorldOptions {
  readonly relayId?: string;
  /** The pods of a pool share these. */
  readonly surroundings?: PoolSurroundings;
  readonly settings?: Readonly<Record<string, JsonValue>>;
  readonly machine?: Partial<Machine>;
}

export interface PoolSurroundings {
  readonly authority: TestAuthority;
  readonly enrolment: TestEnrolment;
}

/** A relay in this process with real sockets and TLS, and its clients. */
export async function relayWorld(
  t: TestContext,
  { settings = {}, machine: limits, relayId = RELAY_ID, surroundings }: WorldOptions = {},
) {
  const dir = tempDir(t);
  const authority = surroundings?.authority ?? (await makeAuthority(dir));
  const enrolment = surroundings?.enrolment ?? (await makeEnrolment(dir));
  const tls = await authority.both('tool-relay', { hosts: ['localhost', '127.0.0.1'] });
  const logLines: string[] = [];
  const lifecycle = new Lifecycle();
  const config = readRelayConfig({
    env: {},
    flags: {
      relayId,
      tls: { certFile: tls.certFile, keyFile: tls.keyFile, caFile: tls.caFile },
      'enrolment.jwksFile': enrolment.jwksFile,
      'enrolment.issuer': enrolment.issuer,
      'sockets.port': 0,
      'rpc.port': 0,
      'admin.port': 0,
      'drain.closeAfter': '5s',
      ...settings,
    },
  });
  const log = createLogger({
    service: 'tool-relay',
    level: 'debug',
    destination: { write: (line: string) => logLines.push(line) },
  });
  const registry = createRegistry({ service: 'tool-relay', version: '0.1.0' });
  const { tracer } = createTracing({ service: 'tool-relay', version: '0.1.0' });
  const machine = { availableBytes: 2 ** 34, maxDescriptors: 20_000, ...limits };
  const stop = () => lifecycle.shutdown({ reason: 'test over', deadlineMs: 100 });
  const deps = { lifecycle, log, registry, tracer, machine, env: {} };
  const relay = await startRelay(config, deps).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  lifecycle.markReady();
  const clients = new Clients(t, { relay, authority, enrolment });
  t.after(async () => {
    clients.end();
    await stop();
  });
  const metrics = async () => (await fetch(`${relay.adminUrl}/metrics`)).text();
  return { dir, authority, enrolment, tls, relay, lifecycle, config, logLines, clients, metrics };
}

/** A relay with one device, and a host that holds it open. */
export async function hostAndDevice(t: TestContext, options: WorldOptions = {}) {
  const world = await relayWorld(t, options);
  const { client: device, identity } = await world.clients.device('laptop');
  const host = await world.clients.host();
  const held = await host.open('north', 'laptop');
  return { ...world, device, identity, host, held };
}

export function sendCall(
  host: HostClient,
  { handle, epoch }: OpenDevice,
  payload = randomBytes(20),
) {
  const callId = randomBytes(16);
  host.send({ kind: FrameKind.CALL, device: handle, epoch, callId, payload });
  return { callId, payload };
}

interface Surroundings {
  readonly relay: RelayAddresses;
  readonly authority: TestAuthority;
  readonly enrolment: TestEnrolment;
}

export interface LiveDeviceClient {
  readonly client: DeviceClient;
  readonly identity: TestDevice;
}

/** Dials the relay and disconnects at the end of the test. */
class Clients {
  readonly #surroundings: Surroundings;
  readonly #open: { terminate(): void }[] = [];

  constructor(t: TestContext, surroundings: Surroundings) {
    this.#surroundings = surroundings;
    t.after(() => this.end());
  }

  end(): void {
    for (const client of this.#open.splice(0)) client.terminate();
  }

  dialDevice(url = this.#surroundings.relay.socketUrl): DeviceClient {
    const client = new DeviceClient(
      openSocket(`${url}/v1/device`, { ca: this.#surroundings.authority.ca }),
    );
    this.#open.push(client.native);
    return client;
  }

  dialStream(): DeviceClient<StreamClient> {
    const { relay, authority } = this.#surroundings;
    const native = new StreamClient(`${relay.socketUrl}/v1/device`, { ca: authority.ca });
    const client = new DeviceClient(native);
    this.#open.push(native);
    return client;
  }

  async live(identity: TestDevice, fields: HelloFields = {}): Promise<DeviceClient> {
    const client = this.dialDevice();
    await client.prove(identity, fields);
    await client.welcome();
    return client;
  }

  /** Connects a new device of the tenant. */
  async device(deviceId: string, tenant = 'north'): Promise<LiveDeviceClient> {
    const identity = await this.#surroundings.enrolment.device({ deviceId, tenant });
    return { identity, client: await this.live(identity) };
  }

  dialLink(token: string): HostClient {
    const { relay, authority } = this.#surroundings;
    const client = new HostClient(
      openSocket(`${relay.socketUrl}/v1/link`, {
        ca: authority.ca,
        headers: { authorization: `Bearer ${token}` },
      }),
    );
    this.#open.push(client.native);
    return client;
  }

  async token(name = 'model-host', audience = this.#surroundings.relay.relayId): Promise<string> {
    const { authority } = this.#surroundings;
    return signPeerToken(await authority.client(name), { audience, nowMs: Date.now() });
  }

  async host(name?: string): Promise<HostClient> {
    const client = this.dialLink(await this.token(name));
    await client.opened();
    return client;
  }

  async rpc<S extends DescService>(service: S, name = 'model-host') {
    const { relay, authority } = this.#surroundings;
    const nodeOptions = clientTlsOptions(await authority.client(name));
    const sessionManager = new Http2SessionManager(relay.rpcUrl, {}, nodeOptions);
    this.#open.push({ terminate: () => sessionManager.abort() });
    const transport = createGrpcTransport({ baseUrl: relay.rpcUrl, sessionManager });
    return createClient(service, transport);
  }
}
