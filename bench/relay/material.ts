import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  makeAuthority,
  makeEnrolment,
  needsRedis,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { lifetime } from '../lifetime.ts';

export type Material = Awaited<ReturnType<typeof makeMaterial>>;

/** Certificates, device credentials and a configuration for a relay of the benchmark's own. */
export async function makeMaterial(engine: string) {
  const dir = tempDir(lifetime);
  const authority = await makeAuthority(dir);
  const enrolment = await makeEnrolment(dir);
  const { certFile, keyFile, caFile } = await authority.both('localhost');
  const host = await authority.client('model-host');
  const noLimit = { framesPerSecond: 1e9, bytesPerSecond: '1TiB' };
  const config = {
    relayId: 'bench',
    tls: { certFile, keyFile, caFile },
    enrolment: { jwksFile: enrolment.jwksFile },
    sockets: { port: 0, engine },
    rpc: { port: 0 },
    admin: { port: 0 },
    devices: { connectsPerAddress: 1e6, ...noLimit },
    tenants: { maxDevices: 1e6, ...noLimit },
    links: noLimit,
    log: { level: 'error' },
  };
  const written = (name: string, changes: object = {}) => {
    const file = join(dir, `${name}.yaml`);
    writeFileSync(file, JSON.stringify({ ...config, ...changes }));
    return file;
  };
  return { authority, enrolment, host, certFile, keyFile, written, configFile: written('relay') };
}

/** The configurations of two pods with one Redis; undefined where no Redis is installed. */
export async function makePool({ written }: Material): Promise<readonly string[] | undefined> {
  if (needsRedis().skip !== false) return undefined;
  const redis = await startRedis({ dir: tempDir(lifetime) });
  lifetime.after(() => redis.stop());
  const directory = { engine: 'redis', redis: { nodes: [`127.0.0.1:${redis.port}`] } };
  return ['relay-1', 'relay-2'].map((relayId) => written(relayId, { relayId, directory }));
}
