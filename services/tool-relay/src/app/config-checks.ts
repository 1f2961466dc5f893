import { watchKeySet } from '@zerolatency/identity';
import { expectRevocations } from '@zerolatency/revocations';
import { type ConfigChecks, expectFreePort } from '@zerolatency/service/lifecycle';
import { watchTls } from '@zerolatency/service/tls';
import { readDeviceFiles } from '../adapters/device-files/device-files.ts';
import { readPrivateKey } from '../adapters/issuer-key/file-issuer.ts';
import { ListedBalancers } from '../adapters/listed-balancers/listed-balancers.ts';
import type { RegistrarConfig, RelayConfig } from '../config.ts';
import { openIssuer } from './start-registrar.ts';

const log = { info() {}, warn() {} };

export function checksOfRelay(config: RelayConfig): ConfigChecks {
  const { sockets, rpc, admin, tls, enrolment, revocations } = config;
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
  };
}

export function checksOfRegistrar(config: RegistrarConfig): ConfigChecks {
  const { rpc, admin, tls, registrar } = config;
  const { revocations } = registrar;
  const revocationKey = 'registrar.revocations.keyFile';
  return {
    'rpc.port': () => expectFreePort(rpc),
    'registrar.enrol.port': () => expectFreePort(registrar.enrol),
    'admin.port': () => expectFreePort(admin),
    tls: () => watchTls(tls, { log }).close(),
    'registrar.issuerKeyFile': () => openIssuer(config, log),
    ...(revocations && {
      [revocationKey]: () => readPrivateKey(revocations.keyFile, revocationKey),
    }),
    'registrar.devices': () => readDeviceFiles(registrar.devices),
  };
}
