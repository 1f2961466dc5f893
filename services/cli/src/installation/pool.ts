import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';
import { parse, stringify } from 'yaml';
import { readSettings } from '../settings.ts';
import { addCertificate, addPodCertificate } from './certificates.ts';
import { findFreePorts, writeSettings } from './configuration.ts';
import type { Layout } from './layout.ts';
import { writePrivate } from './private-file.ts';
import { componentsOf, type Pod, podsOf, runningPid } from './processes.ts';
import { followRevocations } from './revocations.ts';

/** A laptop runs no more without swapping. */
const MAX_RELAYS = 9;
const REDIS_USER = 'zl';

interface PodPorts {
  readonly pod: Pod;
  readonly sockets: number;
  readonly rpc: number;
  readonly admin: number;
}

/** Makes the relay of the installation a pool of this many, on a Redis of its own. */
export async function makePool(layout: Layout, relays: number): Promise<void> {
  const present = podsOf(layout).length + 1;
  if (present === relays) return;
  if (relays > MAX_RELAYS) {
    throw new ZlError('config.invalid', `--relays is ${relays}; at most ${MAX_RELAYS} run here`);
  }
  if (present > 1) {
    const message = `this installation has ${present} relays and keeps them; for ${relays}, stop it and remove ${layout.home}`;
    throw new ZlError('config.invalid', message);
  }
  for (const component of componentsOf(layout)) {
    if ((await runningPid(layout, component)) === undefined) continue;
    const message = `it runs with one relay: stop it with "zl down" before --relays ${relays}`;
    throw new ZlError('config.invalid', message);
  }
  await writePool(layout, relays - 1);
}

async function writePool(layout: Layout, count: number): Promise<void> {
  const [redisPort = 0, ...ports] = await findFreePorts(1 + 3 * count);
  const pods = Array.from({ length: count }, (_, index): PodPorts => {
    const [sockets = 0, rpc = 0, admin = 0] = ports.slice(3 * index, 3 * index + 3);
    return { pod: `tool-relay-${index + 2}`, sockets, rpc, admin };
  });
  await writeRedis(layout, redisPort);
  // A pod asks the others as a client.
  await addCertificate(layout, 'tool-relay');
  const relay = await readYaml(layout.relay.config);
  const first = {
    ...relay,
    sockets: reachedAlone(relay.sockets.port),
    // The installation has one tenant, and each of its devices has a place.
    sharding: { width: 1 + count },
    rpc: { ...relay.rpc, allowedClients: ['model-host', 'operator', 'tool-relay'] },
    directory: {
      engine: 'redis',
      redis: {
        nodes: [`127.0.0.1:${redisPort}`],
        username: REDIS_USER,
        password: { file: layout.redis.password },
      },
    },
  };
  await writeUrls(layout, pods);
  await writePrivate(layout.relay.config, stringify(first));
  const settings = await readSettings(layout.settings);
  // What shows that there is a pool is written last.
  await writeSettings(layout, {
    ...settings,
    pool: {
      redis: `127.0.0.1:${redisPort}`,
      relays: pods.map(({ pod, rpc, admin }) => ({
        name: pod,
        url: `https://localhost:${rpc}`,
        adminUrl: `http://127.0.0.1:${admin}`,
      })),
    },
  });
  for (const ports of pods) await writePod(layout, first, ports);
}

async function writePod(
  layout: Layout,
  first: Record<string, unknown>,
  { pod, sockets, rpc, admin }: PodPorts,
): Promise<void> {
  await addPodCertificate(layout, pod);
  const { cert, key } = layout.tls(pod);
  const config = {
    ...first,
    relayId: pod.replace('tool-', ''),
    tls: { certFile: cert, keyFile: key, caFile: layout.authority.cert },
    sockets: reachedAlone(sockets),
    rpc: { ...Object(first.rpc), port: rpc },
    admin: { port: admin },
    revocations: await followRevocations(layout, layout.pod(pod).followed),
  };
  await writePrivate(layout.pod(pod).config, stringify(config));
}

/** No balancer hides the pod, so that others can send it its devices. */
function reachedAlone(port: number) {
  return { port, deviceUrl: `wss://localhost:${port}` };
}

/** The bridge begins with another pod than the host, so that the first chat crosses pods. */
async function writeUrls(layout: Layout, pods: readonly PodPorts[]): Promise<void> {
  const host = await readYaml(layout.host.config);
  const rpcUrls = pods.map(({ rpc }) => `https://localhost:${rpc}`);
  host.relay.urls = [...host.relay.urls, ...rpcUrls];
  await writePrivate(layout.host.config, stringify(host));
  const socketUrls = pods.map(({ sockets }) => `wss://localhost:${sockets}/v1/device`);
  const bridge = await readYaml(layout.device.config);
  bridge.relay.urls = [...socketUrls, ...bridge.relay.urls];
  await writePrivate(layout.device.config, stringify(bridge));
  const registrar = await readYaml(layout.registrar.config);
  registrar.registrar.devices.relayUrls = bridge.relay.urls;
  await writePrivate(layout.registrar.config, stringify(registrar));
}

async function writeRedis({ redis }: Layout, port: number): Promise<void> {
  const password = randomBytes(24).toString('base64url');
  const hash = createHash('sha256').update(password).digest('hex');
  const rights = '-@all +@read +@write +@scripting +@connection +info +time';
  const directives = [
    'bind 127.0.0.1',
    `port ${port}`,
    `dir ${JSON.stringify(redis.dir)}`,
    'save ""',
    'appendonly no',
    // Its command line names this file, by which an operator finds it.
    'set-proc-title no',
    'user default off',
    `user ${REDIS_USER} on #${hash} ~zl:* ${rights}`,
  ];
  await makeFolder(redis.dir);
  await writePrivate(redis.password, password);
  await writePrivate(redis.config, `${directives.join('\n')}\n`);
}

/** What an installation wrote for one of its programs. */
async function readYaml(file: string) {
  return parse(await readFile(file, 'utf8'));
}
