import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeAuthority, makeEnrolment, tempDir } from '@zerolatency/testing';
import { lifetime } from '../lifetime.ts';

export type Material = Awaited<ReturnType<typeof makeMaterial>>;

/** Certificates, device credentials and a configuration for a relay of the benchmark's own. */
export async function makeMaterial(engine: string) {
  const dir = tempDir(lifetime);
  const authority = await makeAuthority(dir);
  const enrolment = await makeEnrolment(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const host = await authority.client('model-host');
  const configFile = join(dir, 'relay.yaml');
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
  writeFileSync(configFile, JSON.stringify(config));
  return { authority, enrolment, host, certFile, keyFile, configFile };
}
