import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';

/** The paths of one local installation. Installations share nothing. */
export function layoutOf(home: string) {
  const at = (...parts: string[]) => join(home, ...parts);
  /** The revocation list as a relay or host keeps it. */
  const followedIn = (folder: string) => ({
    file: at(folder, 'revocations.dsse.json'),
    stateFile: at(folder, 'state', 'revocations-floor.json'),
  });
  return {
    home,
    authority: { cert: at('authority', 'ca.pem'), key: at('authority', 'ca-key.pem') },
    tls: (name: string) => ({ cert: at('tls', `${name}.pem`), key: at('tls', `${name}-key.pem`) }),
    tokens: { key: at('identity', 'token-key.pem'), jwks: at('identity', 'token-keys.json') },
    /** By which relay and host verify device credentials. */
    enrolment: { jwks: at('identity', 'enrolment-keys.json') },
    policy: {
      key: at('policy', 'policy-key.pem'),
      keys: at('policy', 'keys'),
      bundle: at('policy', 'bundle.dsse.json'),
      /** What host and bridge remember of the newest bundle. */
      floors: [
        at('host', 'state', 'policy-floor.json'),
        at('device', 'state', 'policy-floor.json'),
      ],
    },
    host: {
      config: at('host.yaml'),
      key: at('host', 'receipt-key.pem'),
      ledger: at('host', 'ledger'),
      state: at('host', 'state'),
      followed: followedIn('host'),
    },
    receiptKeys: { host: at('keys', 'host'), device: at('keys', 'device') },
    relay: { config: at('relay.yaml'), followed: followedIn('relay') },
    /** The relays of a pool beside the first. */
    pod: (name: string) => ({ config: at(`${name}.yaml`), followed: followedIn(name) }),
    redis: {
      dir: at('redis'),
      config: at('redis', 'redis.conf'),
      password: at('redis', 'password'),
    },
    registrar: {
      config: at('registrar.yaml'),
      issuerKey: at('registrar', 'issuer-key.pem'),
      revocationKey: at('registrar', 'revocation-key.pem'),
      revocations: at('registrar', 'revocations.dsse.json'),
      /** Where release 0.1 has it. */
      earlierIssuerKey: at('identity', 'enrolment-key.pem'),
    },
    /** Keys that sign the revocation list. */
    revocationKeys: at('keys', 'revocations'),
    device: {
      config: at('bridge.yaml'),
      key: at('device', 'device-key.pem'),
      credential: at('device', 'credential.jws'),
      manifestKeys: at('device', 'manifest-keys'),
      manifest: at('device', 'manifest.dsse.json'),
      manifestFloor: at('device', 'state', 'manifest-floor.json'),
      state: at('device', 'state'),
      witness: at('device', 'state', 'witness'),
      controlSocket: at('device', 'state', 'control.sock'),
      files: at('device', 'files'),
    },
    manifestKey: at('policy', 'manifest-key.pem'),
    settings: at('zl.json'),
    chatHistory: at('chat-history'),
    pid: (service: string) => at('run', `${service}.json`),
    logs: at('log'),
    log: (service: string) => at('log', `${service}.log`),
  } as const;
}

export type Layout = ReturnType<typeof layoutOf>;

/** Throws before a command looks for one of its files, and names only that. */
export function expectInstalled(layout: Layout): Layout {
  if (existsSync(layout.settings)) return layout;
  throw noInstallation(layout.settings);
}

export function noInstallation(settings: string, cause?: unknown): ZlError {
  const message = `no installation found: cannot read ${settings}; run "make up"`;
  return new ZlError('config.invalid', message, { cause });
}

/** The root of the project, from which services are started. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');

/** The nearest .zl upwards from here, or else .zl here. */
export function findHome(cwd: string, given: string | undefined): string {
  if (given !== undefined && given !== '') return resolve(cwd, given);
  for (let folder = cwd; ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.zl'))) return join(folder, '.zl');
    if (folder === dirname(folder)) return join(cwd, '.zl');
  }
}
