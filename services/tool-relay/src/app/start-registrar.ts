import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { fromUnknown, publishCatalogueAt, ZlError } from '@zerolatency/errors';
import {
  type DeviceIdentity,
  type KeySetOptions,
  verifyDeviceCredential,
  watchKeySet,
} from '@zerolatency/identity';
import { EnrolmentService } from '@zerolatency/proto/enrolment';
import { RegistrarService } from '@zerolatency/proto/registrar';
import { serveAdmin } from '@zerolatency/service/lifecycle';
import { readRedisSecrets } from '@zerolatency/service/redis';
import { connectRedis } from '@zerolatency/service/redis-client';
import { exposeListener, type HttpServer } from '@zerolatency/service/rpc';
import { exposeCertificate, watchTls } from '@zerolatency/service/tls';
import { signerFromPem } from '@zerolatency/signing';
import manifest from '../../package.json' with { type: 'json' };
import { keepPublicKey, readDeviceFiles } from '../adapters/device-files/device-files.ts';
import { credentialIssuer, readPrivateKey } from '../adapters/issuer-key/issuer-key.ts';
import { ListedBalancers } from '../adapters/listed-balancers/listed-balancers.ts';
import { originOf, strangerOrigins } from '../adapters/listed-balancers/stranger-origins.ts';
import { MemoryCodes } from '../adapters/memory-codes/memory-codes.ts';
import { RedisCodes } from '../adapters/redis-codes/redis-codes.ts';
import { lockRevocationFile, revocationFile } from '../adapters/revocation-file/revocation-file.ts';
import { openVaultKey } from '../adapters/vault-key/vault-key.ts';
import type { RelayDeps } from '../app.ts';
import type { RegistrarConfig } from '../config.ts';
import { exposeRevocations, RegistrarMeters } from '../metrics.ts';
import type { Clock } from '../ports.ts';
import { Enrolments } from '../registrar/enrolments.ts';
import { Invitations, MAX_CODE_LIFETIME_MS } from '../registrar/invitations.ts';
import { Renewals } from '../registrar/renewals.ts';
import { RevocationAuthority, readList } from '../registrar/revocation-authority.ts';
import { enrolmentService } from '../rpc/enrolment-service.ts';
import { registrarService } from '../rpc/registrar-service.ts';
import { type Callers, offer, serveRpc } from '../rpc/server.ts';

export interface RegistrarAddresses {
  readonly enrolUrl: string;
  readonly rpcUrl: string;
  readonly adminUrl: string;
}

type RevocationSettings = NonNullable<RegistrarConfig['registrar']['revocations']>;

/** What a shutdown closes, first to last. */
const SHUTDOWN_ORDER = [
  'enrol',
  'rpc',
  'codes',
  'admin',
  'revocations',
  'enrolment keys',
  'certificates',
];

const clock: Clock = { monotonicMs: () => performance.now(), unixMs: () => Date.now() };

/** Resolves when devices can enrol. The lifecycle closes everything it opens. */
export async function startRegistrar(
  config: RegistrarConfig,
  deps: Omit<RelayDeps, 'machine'>,
): Promise<RegistrarAddresses> {
  const { lifecycle, log, registry, tracer } = deps;
  const { enrol, devices, receiptKeysDir } = config.registrar;
  lifecycle.drainOrder(SHUTDOWN_ORDER);
  publishCatalogueAt(config.errors?.catalogueUrl);
  const tls = watchTls(config.tls, { log });
  lifecycle.onDrain('certificates', async () => tls.close());
  exposeCertificate(registry, () => tls.current().cert);
  const meters = new RegistrarMeters(registry);
  const revocations = await openRevocations(config, deps);
  if (revocations !== undefined) exposeRevocations(registry, () => revocations.figures);
  const opened = await openIssuer(config, log, revocations);
  const { issuer, issueMs, keySet } = opened;
  lifecycle.onDrain('enrolment keys', async () => opened.close());
  await readDeviceFiles(devices);

  const codes = await openCodes(config, deps.env);
  lifecycle.onDrain('codes', async () => codes.close());
  let enrolUrl = enrol.advertisedUrl;
  const enrolments = new Enrolments({
    ...{ codes, issuer, revocations, clock, log },
    readDeviceFiles: () => readDeviceFiles(devices),
    keepPublicKey: (key) => keepPublicKey(receiptKeysDir, key),
    audience: () => enrolUrl,
    onEnded: (errorId) => meters.enrolmentEnded(errorId),
  });
  const onCreated = () => meters.codeCreated();
  const invitations = new Invitations({ codes, clock, issueMs, log, onCreated });

  const shared = { tls, serving: lifecycle, registry, tracer, log };
  const renewals =
    revocations &&
    new Renewals({
      ...{ issuer, revocations, clock, log },
      issuerName: config.enrolment.issuer,
      keys: () => keySet.keys(),
      onEnded: (errorId) => meters.renewalEnded(errorId),
    });
  const administration = registrarService({
    ...{ invitations, revocations, renewals },
    enrolUrl: () => enrolUrl,
  });
  const rpc = await serveRpc({
    ...{ ...shared, ...config.rpc, requireClient: true },
    services: [offer(RegistrarService, administration, callersOf(config))],
  });
  lifecycle.onDrain('rpc', (deadline) => rpc.close(deadline));
  const { handshakeMs } = enrol.connections;
  const balancers = new ListedBalancers(enrol, 'registrar.enrol');
  const strangers = await serveRpc({
    ...{ ...shared, ...enrol, requireClient: false },
    balancers: {
      origins: strangerOrigins(balancers, enrol.connections),
      originOf: (address, header) => originOf(balancers, address, header),
    },
    // One small request, complete as soon as the first one has to be begun.
    connections: { ...enrol.connections, stalledMs: handshakeMs, idleMs: handshakeMs },
    services: [offer(EnrolmentService, enrolmentService(enrolments))],
  });
  lifecycle.onDrain('enrol', (deadline) => strangers.close(deadline));
  if (enrolUrl === '') enrolUrl = `https://localhost:${strangers.port}`;
  const listeners = exposeListener(registry, together(rpc, strangers));
  const admin = await serveAdmin({
    ...{ ...config.admin, lifecycle, registry, log },
    ...{ service: 'registrar', version: manifest.version, configDigest: config.digest },
    components: {
      'enrolment keys': async () => keySet.status(),
      'issuing key': async () => opened.keyStatus(),
      certificate: async () => tls.status(),
      codes: async () => codes.status(),
      'device files': async () => deviceFilesStatus(devices),
      ...(revocations && { revocations: async () => revocations.status() }),
      rpc: listeners,
    },
  });
  lifecycle.onDrain('admin', () => admin.close());
  return { enrolUrl, rpcUrl: rpc.url, adminUrl: admin.url };
}

async function openCodes({ registrar }: RegistrarConfig, env: RelayDeps['env']) {
  const { engine, redis } = registrar.codes;
  if (engine === 'memory') return new MemoryCodes(clock);
  const secrets = await readRedisSecrets(redis, env);
  return new RedisCodes({ clock, redis: connectRedis(redis, secrets) });
}

/** Operators administer, relays renew, and whoever uses devices follows the revocations. */
function callersOf({ registrar, rpc }: RegistrarConfig): (method: string) => Callers {
  const { operators, relays } = registrar;
  const byMethod: Readonly<Record<string, Callers>> = {
    Renew: { names: relays, setting: 'registrar.relays' },
    WatchRevocations: {
      names: [...relays, ...rpc.allowedClients],
      setting: 'registrar.relays or rpc.allowedClients',
    },
  };
  return (method) => byMethod[method] ?? { names: operators, setting: 'registrar.operators' };
}

/** A device's clock, a relay's or a host's may be that far off when they judge a credential. */
const RETENTION_SKEW_MS = 10 * 60_000;

/** Undefined when no list is kept, so that nothing can be revoked. */
async function openRevocations(
  { registrar }: RegistrarConfig,
  { lifecycle, log }: Pick<RelayDeps, 'lifecycle' | 'log'>,
): Promise<RevocationAuthority | undefined> {
  if (registrar.revocations === undefined) return undefined;
  const lock = await lockRevocationFile(registrar.revocations.file);
  lifecycle.onDrain('revocations', async () => lock.release());
  return await RevocationAuthority.open({
    ...(await readRevocationFiles(registrar.revocations)),
    retentionMs: Math.max(registrar.credentialLifetimeMs, MAX_CODE_LIFETIME_MS) + RETENTION_SKEW_MS,
    ...{ clock, log },
  });
}

async function readRevocationFiles({ file, keyFile }: RevocationSettings) {
  const key = await readPrivateKey(keyFile, 'registrar.revocations.keyFile');
  const signer = signerFromPem(key.export({ type: 'pkcs8', format: 'pem' }).toString());
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  return { store: revocationFile(file), signer, publicPem };
}

/** Throws what would keep the registrar from using them. Writes nothing. */
export async function expectRevocationFiles(settings: RevocationSettings): Promise<void> {
  const files = await readRevocationFiles(settings);
  await readList(files);
  await files.store.loadLastIssuedMs();
}

async function deviceFilesStatus(devices: RegistrarConfig['registrar']['devices']) {
  try {
    await readDeviceFiles(devices);
    return { status: 'ok', detail: 'all can be read' } as const;
  } catch (reason) {
    return {
      status: 'down',
      detail: `no device can enrol: ${fromUnknown(reason).message}`,
    } as const;
  }
}

/** The issuer, and the key set by which relays verify what it issues. */
export async function openIssuer(
  config: RegistrarConfig,
  log: KeySetOptions['log'],
  revocations?: Pick<RevocationAuthority, 'issueMs'>,
) {
  const { enrolment, registrar } = config;
  const issueMs = async (device: DeviceIdentity) => revocations?.issueMs(device) ?? clock.unixMs();
  const { issuerKeyFile = '', issuerVault } = registrar;
  const vault = issuerVault && (await openVaultKey(issuerVault));
  const issuer = credentialIssuer({
    issuerKey: vault ?? (await readPrivateKey(issuerKeyFile, 'registrar.issuerKeyFile')),
    ...{ issuer: enrolment.issuer, lifetimeMs: registrar.credentialLifetimeMs, issueMs },
  });
  const setting = 'enrolment.jwksFile';
  const keySet = await watchKeySet({ file: enrolment.jwksFile, setting, log });
  const { publicKey } = generateKeyPairSync('ed25519');
  const { credential } = await issuer.issue({ tenant: 'a', deviceId: 'trial' }, publicKey);
  const rules = { nowMs: clock.unixMs(), issuer: enrolment.issuer };
  const { error } = await verifyDeviceCredential(credential, keySet.keys(), rules);
  const close = () => {
    keySet.close();
    vault?.close();
  };
  const keyStatus = () => vault?.status() ?? ({ status: 'ok', detail: 'file' } as const);
  if (error === undefined) return { issuer, issueMs, keySet, keyStatus, close };
  close();
  const signer = vault === undefined ? 'issuerKeyFile' : 'issuerVault';
  const why = `with ${setting} relays would refuse what registrar.${signer} signs: ${error}`;
  throw new ZlError('config.invalid', why);
}

/** Two listeners as one in metrics and reports. */
function together(
  ...servers: readonly HttpServer[]
): Pick<HttpServer, 'connections' | 'isAccepting'> {
  const sum = (of: (server: HttpServer) => number) =>
    servers.reduce((total, server) => total + of(server), 0);
  return {
    connections: {
      get size() {
        return sum(({ connections }) => connections.size);
      },
      get unproved() {
        return sum(({ connections }) => connections.unproved);
      },
    },
    get isAccepting() {
      return servers.every((server) => server.isAccepting);
    },
  };
}
