import { watchKeySet } from '@zerolatency/identity';
import { type ConfigChecks, expectFreePort } from '@zerolatency/service/lifecycle';
import { watchTls } from '@zerolatency/service/tls';
import type { RelayConfig } from '../config.ts';

const log = { info() {}, warn() {} };

export function checksOfRelay({ sockets, rpc, admin, tls, enrolment }: RelayConfig): ConfigChecks {
  const file = enrolment.jwksFile;
  const setting = 'enrolment.jwksFile';
  return {
    'sockets.port': () => expectFreePort(sockets),
    'rpc.port': () => expectFreePort(rpc),
    'admin.port': () => expectFreePort(admin),
    tls: () => watchTls(tls, { log }).close(),
    [setting]: async () => (await watchKeySet({ file, setting, log })).close(),
  };
}
