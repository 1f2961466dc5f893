import { toJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { Containment, type Server, ServerState } from '@zerolatency/proto/bridge';
import { type Device, DeviceSchema, RelayService, Transport } from '@zerolatency/proto/relay';
import { foreignLine } from '@zerolatency/redaction';
import { suggestion } from '@zerolatency/service/config';
import { connectionError } from '../connection/connection-error.ts';
import { createInvitation, revokeDevice } from '../connection/registrar.ts';
import { readAuthorities, readText } from '../input.ts';
import type { Settings } from '../settings.ts';
import { EXIT_STATUS, paintFor, print, printJson, type Terminal } from '../terminal.ts';

const PAGE_SIZE = 500;

/** A relay that does not answer within this time is unreachable. */
const TIMEOUT_MS = 10_000;

export async function devices(
  terminal: Terminal,
  settings: Settings,
  options: { readonly json?: boolean },
): Promise<number> {
  const found = await listDevices(settings);
  if (options.json) {
    printJson(terminal, { devices: found.map((device) => toJson(DeviceSchema, device)) });
  } else if (found.length === 0) {
    print(terminal, 'no device is connected; start a bridge ("make up" starts one here)');
  } else {
    for (const device of found) printDevice(terminal, device);
  }
  return EXIT_STATUS.ok;
}

/** Prints a one-time code, and what to run on the new device. */
export async function invite(
  terminal: Terminal,
  settings: Settings,
  options: { readonly device?: string; readonly json?: boolean },
): Promise<number> {
  const wanted = options.device === undefined ? {} : { deviceId: options.device };
  const { code, expiresAtMs, enrolUrl } = await createInvitation(settings, wanted);
  const expiresAt = new Date(expiresAtMs).toISOString();
  const caFile = settings.registrar?.caFile ?? '';
  if (options.json) {
    printJson(terminal, { code, expiresAt, enrolUrl, caFile });
    return EXIT_STATUS.ok;
  }
  const paint = paintFor(terminal);
  print(terminal, `Code ${paint('bold', code)}, for one device, until ${expiresAt}.`);
  if (options.device !== undefined) {
    print(terminal, `It replaces the device ${options.device}, where there is one.`);
  }
  print(terminal, `Copy ${caFile} to the new device as ca.pem, and run there:`);
  print(terminal, '');
  print(terminal, `  ./device-bridge enrol ${code} --registrar ${enrolUrl} --ca ca.pem`);
  print(terminal, '  ./device-bridge --config zl-device/bridge.yaml');
  return EXIT_STATUS.ok;
}

/** Revokes the credentials of a device, and prints when that holds and how to take it back. */
export async function revoke(
  terminal: Terminal,
  settings: Settings,
  options: { readonly device: string; readonly offline?: boolean; readonly json?: boolean },
): Promise<number> {
  const { device } = options;
  if (!options.offline) await expectConnected(settings, device);
  const { revokedAtMs, version } = await revokeDevice(settings, device);
  const revokedAt = new Date(revokedAtMs).toISOString();
  if (options.json) {
    printJson(terminal, { device, revokedAt, version });
    return EXIT_STATUS.ok;
  }
  const named = paintFor(terminal)('bold', device);
  print(
    terminal,
    `Revoked ${named}: its credentials until ${revokedAt} (list version ${version}).`,
  );
  print(
    terminal,
    'Relays and hosts that reach the registrar close its connection within 5 s and admit',
  );
  print(
    terminal,
    'it no more; one that does not reports "revocations" as degraded after a minute.',
  );
  print(terminal, `To let it in again: zl devices invite --device ${device}`);
  return EXIT_STATUS.ok;
}

/** Nobody keeps a list of all devices, and a mistyped name would leave the lost one in use. */
async function expectConnected(settings: Settings, device: string): Promise<void> {
  const remedy = 'To revoke a device that is not connected, check its name and add --offline.';
  const connected = await listDevices(settings).catch((reason: unknown) => {
    const { id, message } = fromUnknown(reason);
    throw new ZlError(id, `the name cannot be checked: ${message}. ${remedy}`, { cause: reason });
  });
  const names = connected.map(({ deviceId }) => deviceId);
  if (names.includes(device)) return;
  const nearest = suggestion(
    device,
    names.map((name) => foreignLine(name)),
  );
  throw new ZlError('device.unknown', `no device ${device} is connected.${nearest} ${remedy}`);
}

/** Asks the relays of a pool one after another, until one can say. */
export async function listDevices(
  { relay, pool, identity }: Settings,
  { timeoutMs = TIMEOUT_MS } = {},
): Promise<Device[]> {
  const [ca, cert, key] = await Promise.all([
    readAuthorities(relay.caFile),
    readText(relay.certFile),
    readText(relay.keyFile),
  ]);
  const nodeOptions = { ca, cert, key };
  let failure: unknown;
  for (const { url } of [relay, ...(pool?.relays ?? [])]) {
    const transport = createGrpcTransport({ baseUrl: url, nodeOptions });
    try {
      return await devicesBy(createClient(RelayService, transport), identity.tenant, timeoutMs);
    } catch (reason) {
      const codes = { unreachable: 'relay.unreachable', lost: 'relay.unreachable' } as const;
      const error = connectionError(reason, { url, ...codes });
      if (!isOfOneRelay(error)) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

async function devicesBy(
  client: Client<typeof RelayService>,
  tenant: string,
  timeoutMs: number,
): Promise<Device[]> {
  const found: Device[] = [];
  let pageToken = '';
  do {
    const page = await client.listDevices(
      { tenant, pageSize: PAGE_SIZE, pageToken },
      { timeoutMs },
    );
    found.push(...page.devices);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
}

/** Another one may know. */
function isOfOneRelay({ id }: ZlError): boolean {
  return id === 'relay.unreachable' || id === 'directory.degraded';
}

function printDevice(terminal: Terminal, device: Device): void {
  const paint = paintFor(terminal);
  const { deviceId, bridgeVersion, relayId, epoch, connectedAt, transport } = device;
  const since = connectedAt && new Date(timestampMs(connectedAt)).toJSON();
  const connection = `bridge ${bridgeVersion}  on ${relayId}, epoch ${epoch}, since ${since ?? 'an unknown time'}`;
  const way = transport === Transport.HTTP_STREAM ? ', over an HTTP stream' : '';
  print(terminal, `${paint('bold', foreignLine(deviceId))}  ${foreignLine(connection)}${way}`);
  if (device.catalog === undefined) print(terminal, '  its relay does not report its tools');
  for (const server of device.catalog?.servers ?? []) {
    const named = server.version === '' ? server.name : `${server.name} ${server.version}`;
    print(terminal, `  ${foreignLine(named)} (${stateOf(server)})`);
    for (const tool of server.tools) {
      const name = foreignLine(`${server.name}.${tool.name}`);
      print(terminal, `    ${name}  ${paint('dim', foreignLine(tool.description))}`);
    }
  }
}

function stateOf({ state, containment, isUnpinned }: Server): string {
  const words = [ServerState[state]?.toLowerCase() ?? 'unknown'];
  if (containment !== Containment.UNSPECIFIED) {
    words.push((Containment[containment] ?? 'unknown containment').toLowerCase().replace('_', ' '));
  }
  if (isUnpinned) words.push('unpinned');
  return words.join(', ');
}
