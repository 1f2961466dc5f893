import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { readProgramConfig } from '../config.ts';
import { checksOfRegistrar, checksOfRelay } from './config-checks.ts';

const common = {
  tls: { certFile: 'cert.pem', keyFile: 'key.pem', caFile: 'ca.pem' },
  'enrolment.jwksFile': 'keys.json',
  'enrolment.issuer': 'https://issuer.test',
};
const document = { file: 'document.json', keysDir: 'keys' };
const registrar = {
  'registrar.issuerKeyFile': 'issuer.pem',
  'registrar.devices': {
    relayUrls: ['wss://relay.test/v1/device'],
    relayCaFile: 'relay-ca.pem',
    policy: document,
    manifest: document,
  },
};

for (const role of ['relay', 'registrar'] as const) {
  test(`[OPS-02] a check of the configuration of a ${role} reads the secrets of its Redis`, async (t) => {
    const passwordFile = join(tempDir(t), 'password');
    const redis = { password: { file: passwordFile }, sentinelPassword: { env: 'SENTINEL' } };
    const uses = { engine: 'redis', redis };
    const config = readProgramConfig({
      env: {},
      flags: {
        role,
        ...common,
        ...(role === 'relay' ? { directory: uses } : { ...registrar, 'registrar.codes': uses }),
      },
    });
    const check = async (env: Record<string, string>) =>
      config.role === 'relay'
        ? await checksOfRelay(config, env)['directory.redis']?.()
        : await checksOfRegistrar(config, env)['registrar.codes.redis']?.();
    await assert.rejects(check({ SENTINEL: 'one' }), { id: 'config.invalid' });
    writeFileSync(passwordFile, 'two');
    await assert.rejects(check({}), { id: 'config.invalid' });
    await check({ SENTINEL: 'one' });
  });
}
