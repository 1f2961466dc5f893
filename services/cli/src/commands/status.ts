import { paintFor } from '../paint.ts';
import type { Settings } from '../settings.ts';
import { type Probe, probeAdmin, probeControlSocket } from '../status/probe.ts';
import { exitStatus, print, printJson, type Terminal } from '../terminal.ts';

export async function status(
  terminal: Terminal,
  settings: Settings,
  options: { readonly json?: boolean },
): Promise<number> {
  const components = await probeAll(settings);
  if (options.json) printJson(terminal, { components: components.map(describe(settings)) });
  else for (const component of components) printComponent(terminal, component);
  return components.every(({ health }) => health === 'ok') ? exitStatus.ok : exitStatus.failed;
}

export async function probeAll({ host, relay, bridge }: Settings): Promise<readonly Probe[]> {
  return await Promise.all([
    probeAdmin({ name: 'model-host', address: host.adminUrl }),
    probeAdmin({ name: 'tool-relay', address: relay.adminUrl }),
    probeControlSocket({ name: 'device-bridge', address: bridge.controlSocket }),
  ]);
}

/** With every address, so that grpcurl, Prometheus and scripts find what they need. */
function describe({ host, relay }: Settings) {
  const addresses: Record<string, Record<string, string>> = {
    'model-host': { rpc: host.url, metrics: `${host.adminUrl}/metrics`, caFile: host.caFile },
    'tool-relay': { rpc: relay.url, metrics: `${relay.adminUrl}/metrics`, caFile: relay.caFile },
  };
  return ({ name, address, health, report, error }: Probe) => ({
    name,
    version: report?.version,
    health,
    error,
    addresses: { status: address, ...addresses[name] },
    report,
  });
}

function printComponent(terminal: Terminal, { name, address, health, report, error }: Probe): void {
  const paint = paintFor(terminal);
  const colour = { ok: 'green', degraded: 'yellow', down: 'red' } as const;
  const version = typeof report?.version === 'string' ? report.version : '';
  print(
    terminal,
    `${paint(colour[health], health.padEnd(9))}${name.padEnd(15)}${version.padEnd(9)}${address}${error === undefined ? '' : `  ${error}`}`,
  );
}
