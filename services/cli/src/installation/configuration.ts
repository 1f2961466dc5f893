import { createServer } from 'node:net';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { stringify } from 'yaml';
import type { Settings } from '../settings.ts';
import type { Layout } from './layout.ts';
import { LOCAL } from './local.ts';
import { writePrivate } from './private-file.ts';

/** The listeners of a local installation, all on loopback. */
interface Ports {
  readonly hostRpc: number;
  readonly hostAdmin: number;
  readonly sockets: number;
  readonly relayRpc: number;
  readonly relayAdmin: number;
}

interface RegistrarPorts {
  readonly enrol: number;
  readonly rpc: number;
  readonly admin: number;
}

/** `zl up` enrols the local device again when less than half of this is left. */
const CREDENTIAL_LIFETIME = '12d';

/** Writes a configuration file per service, and the settings of `zl`. */
export async function writeConfiguration(layout: Layout): Promise<void> {
  const [hostRpc = 0, hostAdmin = 0, sockets = 0, relayRpc = 0, relayAdmin = 0] =
    await findFreePorts(5);
  const ports: Ports = { hostRpc, hostAdmin, sockets, relayRpc, relayAdmin };
  await writePrivate(layout.relay.config, stringify(relayConfig(layout, ports)));
  await writePrivate(layout.host.config, stringify(hostConfig(layout, ports)));
  await writePrivate(layout.device.config, stringify(bridgeConfig(layout, ports)));
  const registrar = await writeRegistrar(layout, { relayUrls: [deviceUrl(ports)] });
  await writeSettings(layout, { ...settings(layout, ports), registrar });
}

export async function writeSettings(layout: Layout, content: Settings): Promise<void> {
  await writePrivate(layout.settings, `${JSON.stringify(content, null, 2)}\n`);
}

/** Writes the registrar's configuration, and returns its part of the settings. */
export async function writeRegistrar(
  layout: Layout,
  { relayUrls }: { readonly relayUrls: readonly string[] },
): Promise<NonNullable<Settings['registrar']>> {
  const [enrol = 0, rpc = 0, admin = 0] = await findFreePorts(3);
  const config = registrarConfig(layout, relayUrls, { enrol, rpc, admin });
  await writePrivate(layout.registrar.config, stringify(config));
  return {
    ...{ url: `https://localhost:${rpc}`, adminUrl: `http://127.0.0.1:${admin}` },
    ...operatorOf(layout),
  };
}

function tlsOf(layout: Layout, name: string) {
  const { cert, key } = layout.tls(name);
  return { certFile: cert, keyFile: key, caFile: layout.authority.cert };
}

function relayConfig(layout: Layout, { sockets, relayRpc, relayAdmin }: Ports) {
  return {
    relayId: 'relay-1',
    tls: tlsOf(layout, 'tool-relay'),
    sockets: { port: sockets },
    rpc: { port: relayRpc, allowedClients: ['model-host', 'operator'] },
    admin: { port: relayAdmin },
    enrolment: { jwksFile: layout.enrolment.jwks, issuer: LOCAL.enrolmentIssuer },
  };
}

function registrarConfig(layout: Layout, relayUrls: readonly string[], ports: RegistrarPorts) {
  const { device, policy, authority, enrolment, registrar, receiptKeys } = layout;
  return {
    role: 'registrar',
    tls: tlsOf(layout, 'registrar'),
    rpc: { port: ports.rpc },
    admin: { port: ports.admin },
    enrolment: { jwksFile: enrolment.jwks, issuer: LOCAL.enrolmentIssuer },
    registrar: {
      issuerKeyFile: registrar.issuerKey,
      credentialLifetime: CREDENTIAL_LIFETIME,
      receiptKeysDir: receiptKeys.device,
      enrol: { port: ports.enrol },
      devices: {
        relayUrls: [...relayUrls],
        relayCaFile: authority.cert,
        policy: { file: policy.bundle, keysDir: policy.keys },
        manifest: { file: device.manifest, keysDir: device.manifestKeys },
      },
    },
  };
}

function hostConfig(layout: Layout, { hostRpc, hostAdmin, relayRpc }: Ports) {
  const { issuer, audience } = LOCAL;
  return {
    rpc: { port: hostRpc, tls: tlsOf(layout, 'model-host') },
    admin: { port: hostAdmin, console: true },
    identity: { jwksFile: layout.tokens.jwks, issuer, audience },
    relay: {
      urls: [`https://localhost:${relayRpc}`],
      tls: tlsOf(layout, 'model-host'),
      deviceKeysFile: layout.enrolment.jwks,
    },
    policy: {
      bundleFile: layout.policy.bundle,
      keysDir: layout.policy.keys,
      stateFile: join(layout.host.state, 'policy-floor.json'),
    },
    ledger: {
      dir: layout.host.ledger,
      stateFile: join(layout.host.state, 'ledger-floor.json'),
      key: { file: layout.host.key },
    },
  };
}

function deviceUrl({ sockets }: Ports): string {
  return `wss://localhost:${sockets}/v1/device`;
}

function bridgeConfig(layout: Layout, ports: Ports) {
  const { device, policy, authority, receiptKeys } = layout;
  return {
    relay: { urls: [deviceUrl(ports)], caFile: authority.cert },
    device: { credentialFile: device.credential, keyFile: device.key },
    policy: { bundleFile: policy.bundle, keysDir: policy.keys },
    servers: { manifestFile: device.manifest, keysDir: device.manifestKeys },
    witness: { hostKeysDir: receiptKeys.host },
    stateDir: device.state,
  };
}

function settings(layout: Layout, ports: Ports): Settings {
  const { issuer, audience, tenant, user, roles, deviceId } = LOCAL;
  return {
    host: {
      url: `https://localhost:${ports.hostRpc}`,
      adminUrl: `http://127.0.0.1:${ports.hostAdmin}`,
      caFile: layout.authority.cert,
    },
    relay: {
      url: `https://localhost:${ports.relayRpc}`,
      adminUrl: `http://127.0.0.1:${ports.relayAdmin}`,
      ...operatorOf(layout),
    },
    bridge: { controlSocket: layout.device.controlSocket },
    identity: { issuerKeyFile: layout.tokens.key, issuer, audience, tenant, user, roles },
    deviceId,
  };
}

/** How an operator shows who they are. */
function operatorOf(layout: Layout) {
  const { cert: certFile, key: keyFile } = layout.tls('operator');
  return { caFile: layout.authority.cert, certFile, keyFile };
}

/** Below those of outgoing connections, one of which could take a port while its program restarts. */
const PORTS = { from: 10_000, count: 20_000 };

/** Chosen once and kept in the configuration; each process begins elsewhere, since two may choose at once. */
export async function findFreePorts(count: number): Promise<number[]> {
  const begin = process.pid * 2 * count;
  const free: number[] = [];
  for (let tried = 0; free.length < count; tried++) {
    if (tried === PORTS.count) throw new ZlError('port.unusable', 'no port of 127.0.0.1 is free');
    const port = PORTS.from + ((begin + tried) % PORTS.count);
    if (await isFree(port)) free.push(port);
  }
  return free;
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
