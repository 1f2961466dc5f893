import { connect } from 'node:net';
import { Readable } from 'node:stream';

/** A component that does not answer within this time is down. */
export const PROBE_TIMEOUT_MS = 2_000;

/** A report is a few KiB. */
const MAX_REPORT_BYTES = 1024 * 1024;

export type Report = Readonly<Record<string, unknown>>;

/** The report of a component, or the reason why there is none. */
export interface Probe {
  readonly name: string;
  readonly address: string;
  readonly health: 'ok' | 'degraded' | 'down';
  readonly report?: Report;
  readonly error?: string;
}

interface Target {
  readonly name: string;
  readonly address: string;
}

/** Probes a service with an admin listener. */
export async function probeAdmin(target: Target): Promise<Probe> {
  return await probe(target, async (signal) => {
    const { body } = await fetch(new URL('/health', target.address), { signal });
    return body === null ? '' : await readBounded(Readable.fromWeb(body));
  });
}

/** Probes a bridge, which answers with one line on its control socket. */
export async function probeControlSocket(target: Target): Promise<Probe> {
  return await probe(target, async (signal) => {
    const socket = connect({ path: target.address, signal });
    try {
      return await readBounded(socket);
    } finally {
      socket.destroy();
    }
  });
}

/** Probes a Redis, which answers before it knows who asks. */
export async function probeRedis(target: Target): Promise<Probe> {
  const { hostname, port } = new URL(`tcp://${target.address}`);
  const socket = connect({
    host: hostname,
    port: Number(port),
    signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
  });
  try {
    socket.end('PING\r\n');
    const answer = await readBounded(socket);
    if (/^(\+PONG|-NOAUTH)/.test(answer)) return { ...target, health: 'ok' };
    return { ...target, health: 'degraded', error: 'the answer is not that of a Redis' };
  } catch (reason) {
    return { ...target, health: 'down', error: reasonOf(reason) };
  } finally {
    socket.destroy();
  }
}

async function probe(
  target: Target,
  ask: (signal: AbortSignal) => Promise<string>,
): Promise<Probe> {
  try {
    const report = parseReport(await ask(AbortSignal.timeout(PROBE_TIMEOUT_MS)));
    return { ...target, health: healthOf(report), report };
  } catch (reason) {
    // An unreachable component is a result here, not a failure.
    return { ...target, health: 'down', error: reasonOf(reason) };
  }
}

async function readBounded(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > MAX_REPORT_BYTES) throw new Error('the answer is too long for a report');
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseReport(text: string): Record<string, unknown> {
  const notReport = new Error('the answer is not a report');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notReport;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notReport;
  return { ...value };
}

function reasonOf(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  if (reason.name === 'TimeoutError' || reason.name === 'AbortError') {
    return `no answer within ${PROBE_TIMEOUT_MS} ms`;
  }
  const coded = [reason, reason.cause].find((error) => error instanceof Error && 'code' in error);
  return coded instanceof Error && 'code' in coded ? String(coded.code) : reason.message;
}

function healthOf(report: Report): Probe['health'] {
  // Only a component without an answer is down.
  const isOk = report.status === 'ok' || (report.state === 'live' && faultsIn(report).length === 0);
  return isOk ? 'ok' : 'degraded';
}

/** A part of a component that is not as it should be. */
export interface Fault {
  /** Empty for the component itself. */
  readonly name: string;
  readonly state: string;
  readonly why?: string;
  readonly errorId?: string;
  /** The last lines of a failed server's stderr. */
  readonly stderr: readonly string[];
}

/** The faults that a component reports, in its own words. */
export function faultsIn(report: Report = {}): readonly Fault[] {
  const { state, why } = report;
  const own = state === 'live' || typeof why !== 'string' ? [] : [{ ...report, name: '' }];
  const parts = [...recordsIn(report.components), ...recordsIn(report.servers)];
  const named = (name: 'policy' | 'manifest' | 'journal' | 'witness') =>
    recordsIn([report[name]]).map((each): Report => ({ ...each, name }));
  const held = [...named('policy'), ...named('manifest'), ...named('witness')];
  const documents = held.filter(isFaultyDocument);
  // A journal has a state only when it fails.
  const journals = named('journal').filter((journal) => journal.state !== undefined);
  const credentials = recordsIn([report.credential])
    .filter(({ why }) => why !== undefined)
    .map((each): Report => ({ ...each, name: 'credential', state: 'expiring' }));
  const all = [...own, ...parts.filter(isFaulty), ...documents, ...journals, ...credentials];
  return all.map(faultOf);
}

export function faultLine({ name, state, why }: Fault): string {
  const what = name === '' ? state : `${name} is ${state}`;
  return why === undefined ? what : `${what}: ${why}`;
}

export interface Expiry {
  readonly what: string;
  readonly expiresAt: string;
}

/** What in the component expires; components name themselves, and a bridge has no components. */
export function expiriesIn({ components, credential, policy }: Report = {}): readonly Expiry[] {
  const parts: readonly Report[] = [
    ...recordsIn(components),
    ...recordsIn([credential]).map((each) => ({ ...each, name: 'credential' })),
    ...recordsIn([policy]).map((each) => ({ ...each, name: 'policy' })),
  ];
  return parts.flatMap(({ name, expiresAt }) => {
    return typeof expiresAt === 'string' ? [{ what: String(name), expiresAt }] : [];
  });
}

/** Calls go on whatever the clock shows; what people and policies read of it is wrong. */
const NOTABLE_SKEW_MS = 30_000;

/** How far a component's clock is off. Empty when nobody would notice. */
export function skewIn({ clockSkewMs }: Report = {}): string {
  if (typeof clockSkewMs !== 'number' || Math.abs(clockSkewMs) < NOTABLE_SKEW_MS) return '';
  const [unitMs, unit] = Math.abs(clockSkewMs) < 7_200_000 ? [60_000, 'min'] : [3_600_000, 'h'];
  const size = Number((Math.abs(clockSkewMs) / unitMs).toFixed(1));
  return `its clock is ${size} ${unit} ${clockSkewMs > 0 ? 'ahead of' : 'behind'} the relay's`;
}

/** A document in force is at fault too when a later file in its place was refused. */
function isFaultyDocument({ state, why }: Report): boolean {
  return state !== 'active' || typeof why === 'string';
}

/** Servers that run without a sandbox, or code that is not pinned, and what policy denies for it. */
export function looseServersIn({ servers }: Report = {}): string {
  const loose = recordsIn(servers).flatMap(({ name, containment, unpinned, denied }) => {
    const isLoose = typeof containment === 'string' && containment !== 'sandbox';
    const words = [
      ...(isLoose ? [`without a sandbox (${containment})`] : []),
      ...(unpinned === true ? ['code that is not pinned'] : []),
    ];
    if (words.length === 0) return [];
    const first = recordsIn(denied)[0];
    const also =
      first && `, so rule ${first.ruleId} denies ${recordsIn(denied).length} of its tools`;
    return [`${name} runs ${words.join(' and ')}${also ?? ''}`];
  });
  return loose.join('; ');
}

/** A component has a status, and an MCP server a state. */
function isFaulty({ status, state }: Report): boolean {
  return status !== 'ok' && state !== 'ready' && state !== 'active';
}

function faultOf({ name, status, state, detail, why, errorId, error, stderr }: Report): Fault {
  const own = isRecord(error) ? error : {};
  const reason = [own.message, why, detail].find((text) => typeof text === 'string');
  const id = [own.id, errorId].find((text) => typeof text === 'string');
  return {
    name: String(name),
    state: String(status ?? state),
    ...(reason !== undefined && { why: String(reason) }),
    ...(id !== undefined && { errorId: String(id) }),
    stderr: Array.isArray(stderr) ? stderr.map(String) : [],
  };
}

function recordsIn(value: unknown): Report[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function isRecord(value: unknown): value is Report {
  return typeof value === 'object' && value !== null;
}
