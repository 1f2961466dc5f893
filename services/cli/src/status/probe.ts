import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** A component that does not answer within this is down for whoever waits at a terminal. */
const probeTimeoutMs = 2_000;

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
  return await probe(target, async () => {
    const response = await fetch(new URL('/health', target.address), {
      signal: AbortSignal.timeout(probeTimeoutMs),
    });
    return await response.text();
  });
}

/** A bridge listens on no port; it answers one line on its control socket. */
export async function probeControlSocket(target: Target): Promise<Probe> {
  return await probe(target, async () => {
    const socket = connect(target.address);
    socket.setTimeout(probeTimeoutMs, () => socket.destroy(new Error('no answer')));
    return await text(socket);
  });
}

async function probe(target: Target, ask: () => Promise<string>): Promise<Probe> {
  try {
    const report = JSON.parse(await ask());
    return { ...target, health: healthOf(report), report };
  } catch (reason) {
    // A component that cannot be reached is an answer here, not a failure.
    return { ...target, health: 'down', error: reasonOf(reason) };
  }
}

function reasonOf(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  const { cause } = reason;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : reason.message;
}

function healthOf(report: { status?: unknown; state?: unknown }): Probe['health'] {
  if (report.status === 'ok' || report.state === 'live') return 'ok';
  return 'degraded';
}
