import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { eventually, startRedis, tempDir } from '@zerolatency/testing';
import { stringify } from 'yaml';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import {
  runningPid,
  startService,
  stopService,
} from '../../services/cli/src/installation/processes.ts';
import { followRevocations } from '../../services/cli/src/installation/revocations.ts';
import { configOf, editConfig } from './effects.ts';
import { type Lifetime, mainOf, terminal } from './system.ts';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** A relay of its own process. */
export class RelayPod {
  readonly relayId: string;
  /** From its configuration. */
  readonly file: string;
  readonly #layout: Layout;
  readonly #adminUrl: string;

  constructor(relayId: string, layout: Layout, adminPort: number) {
    this.relayId = relayId;
    this.file = layout.relay.config;
    this.#layout = layout;
    this.#adminUrl = `http://127.0.0.1:${adminPort}`;
  }

  async start(): Promise<void> {
    await startService(terminal, this.#layout, {
      service: 'tool-relay',
      main: mainOf('tool-relay'),
    });
    await this.ready();
  }

  async ready(): Promise<void> {
    const isReady = async () => {
      const answer = await fetch(`${this.#adminUrl}/readyz`).catch(() => undefined);
      return answer?.status === 200;
    };
    await eventually(isReady, { timeoutMs: START_TIMEOUT_MS, everyMs: 50 });
  }

  /** SIGTERM. Resolves once the process has ended. */
  stop(): Promise<string> {
    return stopService(terminal, this.#layout, {
      service: 'tool-relay',
      deadlineMs: STOP_TIMEOUT_MS,
    });
  }

  async pid(): Promise<number> {
    const pid = await runningPid(this.#layout, 'tool-relay');
    if (pid === undefined) throw new Error(`${this.relayId} is not running`);
    return pid;
  }

  async kill(): Promise<void> {
    process.kill(await this.pid(), 'SIGKILL');
    await eventually(async () => (await runningPid(this.#layout, 'tool-relay')) === undefined);
  }
}

/** Makes a pool of the relay of an installation that has not started: more pods, one Redis. */
export async function relayPool(
  t: Lifetime,
  layout: Layout,
  size: number,
  sharding?: Readonly<Record<string, unknown>>,
) {
  const redis = await startRedis({ dir: tempDir(t) });
  t.after(() => redis.stop());
  const own = await configOf(layout.relay.config);
  const pods: RelayPod[] = [];
  const urls: { readonly rpc: string; readonly device: string }[] = [];
  for (let nth = 1; nth <= size; nth++) {
    const config = nth === 1 ? layout.relay.config : join(layout.home, `relay-${nth}.yaml`);
    const [sockets, rpc, admin] =
      nth === 1 ? [own.sockets.port, own.rpc.port, own.admin.port] : await freePorts(nth);
    const relayId = `relay-${nth}`;
    const { followed } = nth === 1 ? layout.relay : layout.pod(relayId);
    const { registrarUrl } = own.revocations;
    await writeFile(
      config,
      stringify({
        ...own,
        relayId,
        sockets: { ...own.sockets, port: sockets, deviceUrl: `wss://localhost:${sockets}` },
        ...(sharding && { sharding }),
        rpc: { ...own.rpc, port: rpc },
        // All devices of a test come from one address, of a machine that may be busy.
        devices: { ...own.devices, connectsPerAddress: 1_000, handshake: '30s' },
        admin: { ...own.admin, port: admin },
        revocations: { ...(await followRevocations(layout, followed)), registrarUrl },
        directory: { engine: 'redis', redis: { nodes: [`127.0.0.1:${redis.port}`] } },
      }),
    );
    const named = (name: string) => (nth === 1 ? name : `${name}-${nth}`);
    const podLayout = {
      ...layout,
      relay: { config, followed },
      pid: (service: string) => layout.pid(named(service)),
      log: (service: string) => layout.log(named(service)),
    };
    pods.push(new RelayPod(relayId, podLayout, admin));
    urls.push({ rpc: `https://localhost:${rpc}`, device: `wss://localhost:${sockets}/v1/device` });
  }
  const [host, bridge] = [await configOf(layout.host.config), await configOf(layout.device.config)];
  await editConfig(layout.host.config, {
    relay: { ...host.relay, urls: urls.map(({ rpc }) => rpc) },
  });
  const deviceUrls = urls.map(({ device }) => device);
  await editConfig(layout.device.config, { relay: { ...bridge.relay, urls: deviceUrls } });
  return { pods, deviceUrls, redis };
}

/** Below those of outgoing connections, one of which could take a port while its pod restarts. */
async function freePorts(nth: number): Promise<number[]> {
  const free: number[] = [];
  for (let port = 10_000 + ((process.pid * 7 + nth * 1_000) % 20_000); free.length < 3; port++) {
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) free.push(port);
  }
  return free;
}
