import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { constants, existsSync } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { connect } from 'node:tls';
import { CATALOGUE, fromLocal, isErrorId } from '@zerolatency/errors';
import { SERVER_MANIFEST } from '@zerolatency/manifest';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import { foreignLine } from '@zerolatency/redaction';
import { verifyDocument } from '@zerolatency/signing';
import { decodeJwt } from 'jose';
import { readAuthorities, readKeys, readText } from '../input.ts';
import type { Layout } from '../installation/layout.ts';
import { readOwn } from '../installation/read-own.ts';
import { readSettings, type Settings } from '../settings.ts';
import { faultLine, faultsIn, type Probe, type Report, skewIn } from '../status/probe.ts';
import { EXIT_STATUS, paintFor, print, printJson, type Terminal } from '../terminal.ts';
import { probeAll } from './status.ts';

/** One hop between this person and a tool. */
interface Finding {
  readonly hop: string;
  readonly health: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  /** The one thing to do. */
  readonly action?: string;
}

const TIMEOUT_MS = 2_000;
/** Ledger, journal and logs of a busy day. */
const MIN_FREE_BYTES = 200 * 1024 * 1024;
const START = 'Start it with "zl up".';

/** Looks at every hop by itself, so that it works when nothing runs. */
export async function doctor(
  terminal: Terminal,
  layout: Layout,
  options: { readonly json?: boolean },
): Promise<number> {
  const findings = await examine(terminal, layout);
  if (options.json) printJson(terminal, { findings });
  else for (const finding of findings) printFinding(terminal, finding);
  const hasFailed = findings.some(({ health }) => health === 'failed');
  return hasFailed ? EXIT_STATUS.failed : EXIT_STATUS.ok;
}

async function examine({ env }: Terminal, layout: Layout): Promise<readonly Finding[]> {
  let settings: Settings;
  try {
    settings = await readSettings(layout.settings);
  } catch (reason) {
    const isMissing = !existsSync(layout.settings);
    return [{ ...failed('installation', reason), ...(isMissing && { action: START }) }];
  }
  const { host, relay, registrar } = settings;
  const probes = await probeAll(settings);
  const hops = await Promise.all([
    checked('dns', () => resolved([host.url, relay.url])),
    checked('tls host', () => handshake(host)),
    checked('tls relay', () => handshake(relay)),
    ...(registrar ? [checked('tls registrar', () => handshake(registrar))] : []),
    checked('credential', () => credentialLeft(layout)),
    checked('policy', () => policyLeft(layout)),
    checked('servers', () => serversOf(layout, probes)),
    checked('ledger', () => ledgerOf(layout, probes)),
    checked('disk', () => freeSpace(layout)),
  ]);
  const ok = { hop: 'installation', health: 'ok', detail: layout.home } as const;
  return [ok, ...hops, proxyOf(env), clockOf(probes), ...probes.flatMap(componentOf)];
}

async function checked(hop: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { hop, health: 'ok', detail: await work() };
  } catch (reason) {
    return failed(hop, reason);
  }
}

function failed(hop: string, reason: unknown): Finding {
  const { id, message, help } = fromLocal(reason);
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : '';
  const action = ACTIONS[code] ?? (id === 'internal' ? undefined : help);
  return { hop, health: 'failed', detail: message, ...(action !== undefined && { action }) };
}

/** What Node's codes ask of a person here. */
const ACTIONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: START,
  ENOTFOUND: 'Correct the name in zl.json, or the resolver of this machine.',
  EAI_AGAIN: 'Correct the resolver of this machine.',
  CERT_HAS_EXPIRED: 'Renew the certificate with "zl up".',
};

async function resolved(urls: readonly string[]): Promise<string> {
  const names = [...new Set(urls.map((url) => new URL(url).hostname))];
  const found = await Promise.all(
    names.map(async (name) => `${name} is ${(await lookup(name)).address}`),
  );
  return found.join(', ');
}

async function handshake({ url, caFile }: { url: string; caFile: string }): Promise<string> {
  const { protocol, hostname: host, port } = new URL(url);
  if (protocol !== 'https:') return `${url} speaks cleartext`;
  const ca = await readAuthorities(caFile);
  const socket = connect({ host, servername: host, port: Number(port || 443), ca });
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    await once(socket, 'secureConnect', { signal });
    const { valid_to: until } = socket.getPeerCertificate();
    return `${url}, ${socket.getProtocol()}, certificate valid until ${until}`;
  } finally {
    socket.destroy();
  }
}

async function credentialLeft({ device }: Layout): Promise<string> {
  const { exp = 0 } = await readOwn(device.credential, 'credential', decodeJwt);
  const until = new Date(exp * 1000).toISOString();
  if (exp * 1000 > Date.now()) return `valid until ${until}`;
  throw Object.assign(new Error(`expired at ${until}`), { code: 'CERT_HAS_EXPIRED' });
}

async function policyLeft({ policy }: Layout): Promise<string> {
  const [envelope, keys] = await Promise.all([readText(policy.bundle), readKeys(policy.keys)]);
  const verified = verifyDocument(POLICY_BUNDLE, envelope, { keys, nowMs: Date.now() });
  if ('error' in verified) throw verified.error;
  const { id, version, expiresAt } = verified.content;
  return `${id}@${version} is signed, and valid until ${expiresAt}`;
}

async function freeSpace({ home }: Layout): Promise<string> {
  const { bavail, bsize } = await statfs(home);
  const free = bavail * bsize;
  const detail = `${Math.floor(free / 1024 ** 2)} MiB are free below ${home}`;
  if (free >= MIN_FREE_BYTES) return detail;
  throw Object.assign(new Error(detail), { code: 'ENOSPC', path: home });
}

const PROXY_VARIABLES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY'];

function proxyOf(env: Terminal['env']): Finding {
  const set = PROXY_VARIABLES.filter((name) => (env[name] ?? '') !== '');
  if (set.length === 0) return { hop: 'proxy', health: 'ok', detail: 'none is set' };
  return {
    ...{ hop: 'proxy', health: 'warning', detail: `${set.join(', ')} is set and not used` },
    action: 'Let host and relay be reached directly, or through a tunnel at their addresses.',
  };
}

/** As the relay told the device. */
function clockOf(probes: readonly Probe[]): Finding {
  const bridge = probes.find(({ name }) => name === 'device-bridge');
  if (bridge?.report?.clockSkewMs === undefined) {
    return {
      hop: 'clock',
      health: 'warning',
      detail: 'not known while the device is not connected',
      action: START,
    };
  }
  const skew = skewIn(bridge.report);
  if (skew === '') return { hop: 'clock', health: 'ok', detail: "agrees with the relay's" };
  return {
    hop: 'clock',
    health: 'failed',
    detail: skew,
    action: 'Let this machine set its clock by NTP.',
  };
}

/** The component, or each of its faults. */
function componentOf({ name, health, error, report }: Probe): readonly Finding[] {
  if (health === 'down')
    return [{ hop: name, health: 'failed', detail: error ?? 'no answer', action: START }];
  const faults = faultsIn(report).map((fault): Finding => {
    const { errorId = '' } = fault;
    const action = isErrorId(errorId) ? CATALOGUE[errorId].help : `See "zl logs ${name}".`;
    return { hop: name, health: 'failed', detail: faultLine(fault), action };
  });
  const well: Finding = { hop: name, health: 'ok', detail: `version ${report?.version}` };
  return faults.length === 0 ? [well] : faults;
}

/** Those that run with their sandbox, or else those that the manifest lets a bridge start. */
async function serversOf({ device }: Layout, probes: readonly Probe[]): Promise<string> {
  const running = listIn(probes, 'device-bridge', 'servers').filter(
    ({ state }) => state === 'ready',
  );
  if (running.length > 0) {
    return running
      .map(({ name, containment }) => `${name} runs ${placeOf(containment)}`)
      .join(', ');
  }
  const keys = await readKeys(device.manifestKeys);
  const envelope = await readText(device.manifest);
  const verified = verifyDocument(SERVER_MANIFEST, envelope, { keys, nowMs: Date.now() });
  if ('error' in verified) throw verified.error;
  return verified.content.servers
    .map(({ name }) => `${name} is allowed and does not run`)
    .join(', ');
}

function placeOf(containment: unknown): string {
  return containment === 'sandbox' ? 'in a sandbox' : `without a sandbox (${containment})`;
}

async function ledgerOf({ host }: Layout, probes: readonly Probe[]): Promise<string> {
  const ledger = listIn(probes, 'model-host', 'components').find(({ name }) => name === 'ledger');
  if (ledger?.status === 'ok') return String(ledger.detail);
  if (!existsSync(host.ledger)) return `${host.ledger} does not exist before the first start`;
  await access(host.ledger, constants.R_OK | constants.W_OK);
  return `${host.ledger} can be written; "zl audit verify" checks its records`;
}

function listIn(probes: readonly Probe[], component: string, list: string): readonly Report[] {
  const value = probes.find(({ name }) => name === component)?.report?.[list];
  return Array.isArray(value) ? value : [];
}

function printFinding(terminal: Terminal, { hop, health, detail, action }: Finding): void {
  const paint = paintFor(terminal);
  const colour = { ok: 'green', warning: 'yellow', failed: 'red' } as const;
  print(
    terminal,
    `${paint(colour[health], health.padEnd(9))}${hop.padEnd(15)}${foreignLine(detail, 1_000)}`,
  );
  if (action !== undefined) print(terminal, `         ${action}`);
}
