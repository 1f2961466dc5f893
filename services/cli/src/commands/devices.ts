import { readFile } from 'node:fs/promises';
import { toJson } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ServerState } from '@zerolatency/proto/bridge';
import { type Device, DeviceSchema, RelayService } from '@zerolatency/proto/relay';
import { paintFor } from '../paint.ts';
import type { Settings } from '../settings.ts';
import { exitStatus, print, printJson, type Terminal } from '../terminal.ts';

/** What the relay is asked for at a time. */
const pageSize = 500;

export async function devices(
  terminal: Terminal,
  settings: Settings,
  options: { readonly json?: boolean },
): Promise<number> {
  const found = await listDevices(settings);
  if (options.json) {
    printJson(terminal, { devices: found.map((device) => toJson(DeviceSchema, device)) });
  } else if (found.length === 0) {
    print(terminal, 'no device is connected; start its bridge ("make up" starts one here)');
  }
  if (!options.json) for (const device of found) printDevice(terminal, device);
  return exitStatus.ok;
}

async function listDevices({ relay, identity }: Settings): Promise<Device[]> {
  const [ca, cert, key] = await Promise.all(
    [relay.caFile, relay.certFile, relay.keyFile].map((path) => readFile(path, 'utf8')),
  );
  const client = createClient(
    RelayService,
    createGrpcTransport({ baseUrl: relay.url, nodeOptions: { ca, cert, key } }),
  );
  const found: Device[] = [];
  let pageToken = '';
  do {
    const page = await client.listDevices({ tenant: identity.tenant, pageSize, pageToken });
    found.push(...page.devices);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
}

function printDevice(terminal: Terminal, device: Device): void {
  const paint = paintFor(terminal);
  const since = new Date(Number(device.connectedUnixMs)).toISOString();
  print(
    terminal,
    `${paint('bold', device.deviceId)}  bridge ${device.bridgeVersion}  on ${device.relayId}, epoch ${device.epoch}, since ${since}`,
  );
  for (const server of device.catalog?.servers ?? []) {
    const state = ServerState[server.state]?.toLowerCase() ?? 'unknown';
    print(terminal, `  ${server.name} (${state})`);
    for (const tool of server.tools) {
      print(terminal, `    ${server.name}.${tool.name}  ${paint('dim', tool.description)}`);
    }
  }
}
