import { foreignLine } from '@zerolatency/redaction';
import type { Settings } from '../settings.ts';
import { faultsIn, type Probe, probeAdmin, probeControlSocket, skewIn } from '../status/probe.ts';
import { EXIT_STATUS, paintFor, print, printJson, type Terminal } from '../terminal.ts';

export async function status(
  terminal: Terminal,
  settings: Settings,
  options: { readonly json?: boolean },
): Promise<number> {
  const components = await probeAll(settings);
  const addressed = components.map((probe) => ({ probe, addresses: addressesOf(settings, probe) }));
  if (options.json) printJson(terminal, { components: addressed.map(describe) });
  else for (const { probe, addresses } of addressed) printComponent(terminal, probe, addresses);
  return components.every(({ health }) => health === 'ok') ? EXIT_STATUS.ok : EXIT_STATUS.failed;
}

export async function probeAll({ host, relay, bridge }: Settings): Promise<readonly Probe[]> {
  return await Promise.all([
    probeAdmin({ name: 'model-host', address: host.adminUrl }),
    probeAdmin({ name: 'tool-relay', address: relay.adminUrl }),
    probeControlSocket({ name: 'device-bridge', address: bridge.controlSocket }),
  ]);
}

type Addresses = Readonly<Record<string, string>>;

/** For grpcurl, Prometheus and scripts. */
function addressesOf({ host, relay }: Settings, { name, address }: Probe): Addresses {
  const of: Record<string, Addresses> = {
    'model-host': { rpc: host.url, metrics: `${host.adminUrl}/metrics`, caFile: host.caFile },
    'tool-relay': { rpc: relay.url, metrics: `${relay.adminUrl}/metrics`, caFile: relay.caFile },
  };
  return { status: address, ...of[name] };
}

function describe({ probe, addresses }: { probe: Probe; addresses: Addresses }) {
  const { name, health, report, error } = probe;
  return { name, version: report?.version, health, error, addresses, report };
}

function printComponent(terminal: Terminal, probe: Probe, { status, rpc }: Addresses): void {
  const paint = paintFor(terminal);
  const colour = { ok: 'green', degraded: 'yellow', down: 'red' } as const;
  const { name, health, report, error } = probe;
  const version = typeof report?.version === 'string' ? foreignLine(report.version) : '';
  const place = rpc === undefined ? status : `${rpc}  admin ${status}`;
  const why = error ?? (health === 'ok' ? skewIn(report) : faultsIn(report));
  print(
    terminal,
    `${paint(colour[health], health.padEnd(9))}${name.padEnd(15)}${version.padEnd(9)}${place}${why === '' ? '' : `\n         ${foreignLine(why)}`}`,
  );
}
