import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { whatIsWrong } from './what-is-wrong.ts';

/** A component that does not answer within this is down for whoever waits at a terminal. */
const probeTimeoutMs = 2_000;

/** A report is a few KiB. */
const maxReportBytes = 1024 * 1024;

/** What a component says of itself, or why it says nothing. */
export interface Probe {
  readonly name: string;
  readonly address: string;
  readonly health: 'ok' | 'degraded' | 'down';
  readonly report?: Readonly<Record<string, unknown>>;
  readonly error?: string;
}

interface Target {
  readonly name: string;
  readonly address: string;
}

/** A service with an admin listener. */
export async function probeAdmin(target: Target): Promise<Probe> {
  return await probe(target, async (signal) => {
    const { body } = await fetch(new URL('/health', target.address), { signal });
    return body === null ? '' : await readBounded(Readable.fromWeb(body));
  });
}

/** A bridge listens on no port; it answers one line on its control socket. */
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

async function probe(
  target: Target,
  ask: (signal: AbortSignal) => Promise<string>,
): Promise<Probe> {
  try {
    const report = parseReport(await ask(AbortSignal.timeout(probeTimeoutMs)));
    return { ...target, health: healthOf(report), report };
  } catch (reason) {
    // A component that cannot be reached is an answer here, not a failure.
    return { ...target, health: 'down', error: reasonOf(reason) };
  }
}

async function readBounded(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > maxReportBytes) throw new Error('it answers with more than a report');
    chunks.push(part);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseReport(text: string): Record<string, unknown> {
  const notReport = new Error('it answers with something that is no report');
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
    return `no answer within ${probeTimeoutMs} ms`;
  }
  const coded = [reason, reason.cause].find((error) => error instanceof Error && 'code' in error);
  return coded instanceof Error && 'code' in coded ? String(coded.code) : reason.message;
}

function healthOf(report: Readonly<Record<string, unknown>>): Probe['health'] {
  // Down is what gives no answer; whoever answers can at least say what is wrong.
  const isOk = report.status === 'ok' || (report.state === 'live' && whatIsWrong(report) === '');
  return isOk ? 'ok' : 'degraded';
}
