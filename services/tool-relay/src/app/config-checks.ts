import { watchKeySet } from '@zerolatency/identity';
import { expectRevocations } from '@zerolatency/revocations';
import { type ConfigChecks, expectFreePort } from '@zerolatency/service/lifecycle';
import { readRedisSecrets } from '@zerolatency/service/redis';
import { watchTls } from '@zerolatency/service/tls';
import { readDeviceFiles } from '../adapters/device-files/device-files.ts';
import { readPrivateKey } from '../adapters/issuer-key/issuer-key.ts';
import { ListedBalancers } from '../adapters/listed-balancers/listed-balancers.ts';
import type { RegistrarConfig, RelayConfig } from '../config.ts';
import { expectRevocationFiles, openIssuer } from './start-registrar.ts';

const log = { info() {}, warn() {} };

type Env = Readonly<Record<string, string | undefined>>;

export function checksOfRelay(config: RelayConfig, env: Env): ConfigChecks {
  const { sockets, rpc, admin, tls, enrolment, revocations, directory } = config;
  const file = enrolment.jwksFile;
  const setting = 'enrolment.jwksFile';
  return {
    'sockets.port': () => expectFreePort(sockets),
    'sockets.trustedProxies': () => new ListedBalancers(sockets),
    'rpc.port': () => expectFreePort(rpc),
    'admin.port': () => expectFreePort(admin),
    tls: () => watchTls(tls, { log }).close(),
    [setting]: async () => (await watchKeySet({ file, setting, log })).close(),
    ...(revocations && { revocations: () => expectRevocations(revocations, log) }),
    // A relay starts without Redis, so only what it reads itself is checked.
    ...(directory.engine === 'redis' && {
      'directory.redis': () => readRedisSecrets(directory.redis, env),
    }),
  };
}

export function checksOfRegistrar(config: RegistrarConfig, env: Env): ConfigChecks {
  const { rpc, admin, tls, registrar } = config;
  const { revocations, codes } = registrar;
  const revocationKey = 'registrar.revocations.keyFile';
  return {
    'rpc.port': () => expectFreePort(rpc),
    'registrar.enrol.port': () => expectFreePort(registrar.enrol),
    'registrar.enrol.trustedProxies': () => new ListedBalancers(registrar.enrol, 'registrar.enrol'),
    'admin.port': () => expectFreePort(admin),
    tls: () => watchTls(tls, { log }).close(),
    [registrar.issuerVault === undefined ? 'registrar.issuerKeyFile' : 'registrar.issuerVault']:
      async () => (await openIssuer(config, log)).close(),
    ...(revocations && {
      [revocationKey]: () => readPrivateKey(revocations.keyFile, revocationKey),
      'registrar.revocations.file': () => expectRevocationFiles(revocations),
    }),
    'registrar.devices': () => readDeviceFiles(registrar.devices),
    ...(codes.engine === 'redis' && {
      'registrar.codes.redis': () => readRedisSecrets(codes.redis, env),
    }),
  };
}
