import { existsSync } from 'node:fs';
import { toJson } from '@bufbuild/protobuf';
import { CATALOGUE, fromLocal, isErrorId, ZlError } from '@zerolatency/errors';
import { ServerState } from '@zerolatency/proto/bridge';
import { type Device, DeviceSchema } from '@zerolatency/proto/relay';
import { foreignLine } from '@zerolatency/redaction';
import { counted } from '@zerolatency/service/counted';
import type { Layout } from '../installation/layout.ts';
import type { Settings } from '../settings.ts';
import {
  type Expiry,
  expiriesIn,
  type Fault,
  faultLine,
  faultsIn,
  looseServersIn,
  PROBE_TIMEOUT_MS,
  type Probe,
  probeAdmin,
  probeControlSocket,
  probeRedis,
  skewIn,
} from '../status/probe.ts';
import { EXIT_STATUS, paintFor, print, printJson, type Terminal } from '../terminal.ts';
import { listDevices } from './devices.ts';

export async function status(
  terminal: Terminal,
  { layout, settings }: { readonly layout: Layout; readonly settings: Settings },
  options: { readonly json?: boolean },
): Promise<number> {
  const probes = await probeAll(settings);
  const devices = await devicesOf(settings, probes);
  const components = probes.map((probe) => ({ probe, addresses: addressesOf(settings, probe) }));
  if (options.json) {
    printJson(terminal, { components: components.map(describe), ...describeDevices(devices) });
  } else {
    for (const component of components) printComponent(terminal, layout, component);
    printDevices(terminal, devices);
    if (probes.some(({ health }) => health === 'down')) {
      print(terminal, '\n"zl up" starts what is down, and "zl doctor" names the hop that fails.');
    }
  }
  return probes.every(({ health }) => health === 'ok') ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

export async function probeAll({
  host,
  relay,
  registrar,
  pool,
  bridge,
}: Settings): Promise<readonly Probe[]> {
  return await Promise.all([
    probeAdmin({ name: 'model-host', address: host.adminUrl }),
    probeAdmin({ name: 'tool-relay', address: relay.adminUrl }),
    ...(pool?.relays ?? []).map(({ name, adminUrl }) => probeAdmin({ name, address: adminUrl })),
    ...(pool ? [probeRedis({ name: 'redis', address: pool.redis })] : []),
    ...(registrar ? [probeAdmin({ name: 'registrar', address: registrar.adminUrl })] : []),
    probeControlSocket({ name: 'device-bridge', address: bridge.controlSocket }),
  ]);
}

type Addresses = Readonly<Record<string, string>>;

interface Addressed {
  readonly probe: Probe;
  readonly addresses: Addresses;
}

/** For grpcurl, Prometheus and scripts. */
function addressesOf(
  { host, relay, registrar, pool }: Settings,
  { name, address }: Probe,
): Addresses {
  const of: Record<string, Addresses> = {
    'model-host': { rpc: host.url, metrics: `${host.adminUrl}/metrics`, caFile: host.caFile },
    'tool-relay': { rpc: relay.url, metrics: `${relay.adminUrl}/metrics`, caFile: relay.caFile },
    ...(registrar && {
      registrar: {
        rpc: registrar.url,
        metrics: `${registrar.adminUrl}/metrics`,
        caFile: registrar.caFile,
      },
    }),
  };
  for (const { name: pod, url, adminUrl } of pool?.relays ?? []) {
    of[pod] = { rpc: url, metrics: `${adminUrl}/metrics`, caFile: relay.caFile };
  }
  return { status: address, ...of[name] };
}

function describe({ probe, addresses }: Addressed) {
  const { name, health, report, error } = probe;
  const expiries = expiriesIn(report);
  return { name, version: report?.version, health, error, addresses, expiries, report };
}

function printComponent(terminal: Terminal, layout: Layout, { probe, addresses }: Addressed): void {
  const paint = paintFor(terminal);
  const colour = { ok: 'green', degraded: 'yellow', down: 'red' } as const;
  const { name, health, report, error } = probe;
  const { status, rpc } = addresses;
  const version = typeof report?.version === 'string' ? foreignLine(report.version) : '';
  const place = rpc === undefined ? status : `${rpc}  admin ${status}`;
  print(
    terminal,
    `${paint(colour[health], health.padEnd(9))}${name.padEnd(15)}${version.padEnd(9)}${place}`,
  );
  const log = layout.log(name);
  const details = [
    ...(error === undefined ? [] : [error]),
    ...faultsIn(report).flatMap((fault) => [
      faultLine(fault),
      ...fault.stderr.map((line) => `  | ${line}`),
      ...actionFor(fault),
    ]),
    skewIn(report),
    looseServersIn(report),
    expiriesLine(expiriesIn(report)),
    health !== 'ok' && existsSync(log) ? `log: ${log}` : '',
  ];
  for (const line of details) {
    if (line !== '') print(terminal, `         ${foreignLine(line, MAX_DETAIL_CHARS)}`);
  }
}

/** A refused configuration lists every mistake. */
const MAX_DETAIL_CHARS = 2_000;

/** What the catalogue advises. That of a server which is down leads here. */
function actionFor({ errorId = '' }: Fault): string[] {
  const isKnown = isErrorId(errorId) && errorId !== 'tool.server_down';
  return isKnown ? [`  ${CATALOGUE[errorId].help}`] : [];
}

const DAY_MS = 24 * 60 * 60 * 1000;

function expiriesLine(expiries: readonly Expiry[]): string {
  const parts = expiries.map(({ what, expiresAt }) => {
    const leftMs = Date.parse(expiresAt) - Date.now();
    if (leftMs <= 0) return `${what} has expired`;
    const days = Math.floor(leftMs / DAY_MS);
    return `${what} in ${days === 0 ? 'less than a day' : counted(days, 'day')}`;
  });
  return parts.length === 0 ? '' : `expires: ${parts.join(', ')}`;
}

type Devices = { readonly devices: readonly Device[] } | { readonly error: ZlError };

/** Through the relay, which knows them all. */
async function devicesOf(settings: Settings, probes: readonly Probe[]): Promise<Devices> {
  const relay = probes.find(({ name }) => name === 'tool-relay');
  if (relay?.health === 'down') {
    return { error: new ZlError('relay.unreachable', 'the relay is down') };
  }
  try {
    return { devices: await listDevices(settings, { timeoutMs: PROBE_TIMEOUT_MS }) };
  } catch (reason) {
    // What is unknown is shown as such; the rest of the report still helps.
    return { error: fromLocal(reason) };
  }
}

function describeDevices(known: Devices) {
  if ('devices' in known) {
    return { devices: known.devices.map((each) => toJson(DeviceSchema, each)) };
  }
  const { id, message } = known.error;
  return { devices: null, devicesError: { id, message } };
}

function printDevices(terminal: Terminal, known: Devices): void {
  print(terminal, '');
  if ('error' in known) {
    print(terminal, `devices  unknown: ${foreignLine(known.error.message)}`);
    return;
  }
  if (known.devices.length === 0) print(terminal, 'devices  none is connected');
  for (const { deviceId, bridgeVersion, catalog } of known.devices) {
    const servers = (catalog?.servers ?? []).map(({ name, state, tools }) => {
      const count = counted(tools.length, 'tool');
      return `${name} ${ServerState[state]?.toLowerCase() ?? 'unknown'} (${count})`;
    });
    const known = catalog === undefined ? 'its relay does not report its tools' : 'no servers';
    const offered = servers.length === 0 ? known : servers.join(', ');
    print(
      terminal,
      foreignLine(`device   ${deviceId.padEnd(15)}${bridgeVersion.padEnd(9)}${offered}`),
    );
  }
}
