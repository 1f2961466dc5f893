import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { FrameKind } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import { RelayService } from '@zerolatency/proto/relay';
import { makeAuthority, makeEnrolment, tempDir } from '@zerolatency/testing';
import { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { openSocket } from '../../services/tool-relay/test/frame-socket.ts';
import { HostClient } from '../../services/tool-relay/test/host-client.ts';

const main = join(import.meta.dirname, '../../services/tool-relay/src/main.ts');
const RELAY_ID = 'relay-under-attack';

export const ENGINES = ['ws', 'uws'] as const;
export type Engine = (typeof ENGINES)[number];

export type AttackedRelay = Awaited<ReturnType<typeof relayProgram>>;

interface Calls {
  readonly answered: number;
  readonly unanswered: number;
}

interface Options {
  readonly engine: Engine;
  readonly settings?: Readonly<Record<string, object>>;
  /** The most files that the relay may open. */
  readonly maxDescriptors?: number;
}

/** A relay of its own process, with its clients. */
export async function relayProgram(t: TestContext, options: Options) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const enrolment = await makeEnrolment(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const configFile = join(dir, 'relay.yaml');
  const { sockets, ...settings } = options.settings ?? {};
  const config = {
    relayId: RELAY_ID,
    tls: { certFile, keyFile, caFile },
    enrolment: { jwksFile: enrolment.jwksFile },
    sockets: { port: 0, engine: options.engine, ...sockets },
    rpc: { port: 0 },
    admin: { port: 0 },
    ...settings,
  };
  writeFileSync(configFile, JSON.stringify(config));
  const child = start(configFile, options.maxDescriptors);
  t.after(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const ready = await readyLine(child.stdout);
  const pid = child.pid ?? 0;
  const { socketUrl = '', rpcUrl = '', adminUrl = '' } = ready;
  const target = { port: Number(new URL(socketUrl).port), ca: authority.ca };
  const device = async (deviceId: string, tenant?: string) => {
    const client = new DeviceClient(openSocket(`${socketUrl}/v1/device`, { ca: authority.ca }));
    t.after(() => client.native.terminate());
    await client.prove(await enrolment.device({ deviceId, ...(tenant && { tenant }) }));
    await client.welcome();
    return client;
  };
  const host = async () => {
    const token = signPeerToken(await authority.client('model-host'), {
      audience: RELAY_ID,
      nowMs: Date.now(),
    });
    const headers = { authorization: `Bearer ${await token}` };
    const client = new HostClient(
      openSocket(`${socketUrl}/v1/link`, { ca: authority.ca, headers }),
    );
    t.after(() => client.native.terminate());
    await client.opened();
    return client;
  };
  const { cert, key } = await authority.client('model-host');
  const { tenant } = await enrolment.device({ deviceId: 'any' });
  const calls = async (client: DeviceClient, deviceId: string) => {
    client.echo();
    const link = await host();
    return honestCalls(link, await link.open(tenant, deviceId));
  };
  return {
    target,
    adminUrl,
    device,
    host,
    calls,
    tenant,
    rpcTarget: { port: Number(new URL(rpcUrl).port), ca: authority.ca },
    /** Asks for a device, on a connection of its own. */
    locate: async (deviceId: string) => {
      const connection = new Http2SessionManager(rpcUrl, {}, { ca: authority.ca, cert, key });
      const transport = createGrpcTransport({ baseUrl: rpcUrl, sessionManager: connection });
      const { relayId } = await createClient(RelayService, transport).locate({ tenant, deviceId });
      connection.abort();
      return relayId;
    },
    cpuMs: () => cpuMs(pid),
    rssMib: () => rssMib(pid),
    mostRssMib: () => mostRssMib(pid),
    metric: (name: string) => readMetric(adminUrl, name),
  };
}

function start(
  configFile: string,
  maxDescriptors: number | undefined,
): ChildProcessByStdio<null, Readable, null> {
  const args = ['--disable-warning=ExperimentalWarning', main, '--config', configFile];
  const env = { PATH: process.env.PATH };
  const limit = maxDescriptors === undefined ? '' : `ulimit -n ${maxDescriptors}; `;
  return spawn('/bin/sh', ['-c', `${limit}exec "$@"`, 'sh', process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env,
  });
}

async function readyLine(stdout: NodeJS.ReadableStream): Promise<Record<string, string>> {
  for await (const line of createInterface({ input: stdout })) {
    const parsed = JSON.parse(line);
    if (parsed.event !== 'ready') continue;
    stdout.resume();
    return parsed;
  }
  throw new Error('the relay ended before it was ready');
}

function rssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** User and system time, which Linux counts in hundredths of a second. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Call the result for the most memory that the program has had since. */
function mostRssMib(pid: number): () => number {
  let most = 0;
  const sample = () => {
    most = Math.max(most, rssMib(pid));
  };
  const timer = setInterval(sample, 20);
  return () => {
    sample();
    clearInterval(timer);
    return most;
  };
}

/** The sum over all labels. */
async function readMetric(adminUrl: string, name: string): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const samples = text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'));
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Makes one call after another for a time. Returns how many were answered; after one that is not it stops. */
function honestCalls(link: HostClient, { handle, epoch }: { handle: number; epoch: number }) {
  const head = { device: handle, epoch };
  const isAnswered = (callId: Buffer, deadlineMs: number) =>
    new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), deadlineMs);
      link.onFrame = ({ kind, callId: answered }) => {
        if (kind !== FrameKind.OUTCOME || !callId.equals(answered)) return;
        clearTimeout(timer);
        resolve(true);
      };
      link.send({ ...head, kind: FrameKind.CALL, callId, payload: randomBytes(200) });
    });
  return async (forMs: number, deadlineMs = 10_000): Promise<Calls> => {
    const untilMs = performance.now() + forMs;
    let answered = 0;
    while (performance.now() < untilMs) {
      const callId = randomBytes(16);
      if (!(await isAnswered(callId, deadlineMs))) return { answered, unanswered: 1 };
      link.send({ ...head, kind: FrameKind.ACK, callId });
      link.frames.length = 0;
      answered += 1;
      // As fast as it can, a device would exceed its own allowance of frames.
      await sleep(1);
    }
    return { answered, unanswered: 0 };
  };
}
