import { generateKeyPairSync } from 'node:crypto';
import { publishCatalogueAt, ZlError } from '@zerolatency/errors';
import { type KeySetOptions, verifyDeviceCredential, watchKeySet } from '@zerolatency/identity';
import { EnrolmentService } from '@zerolatency/proto/enrolment';
import { RegistrarService } from '@zerolatency/proto/registrar';
import { type ComponentCheck, serveAdmin } from '@zerolatency/service/lifecycle';
import { exposeListener, type HttpServer } from '@zerolatency/service/rpc';
import { exposeCertificate, watchTls } from '@zerolatency/service/tls';
import manifest from '../../package.json' with { type: 'json' };
import { readDeviceFiles } from '../adapters/device-files/read-device-files.ts';
import { openFileIssuer } from '../adapters/issuer-key/file-issuer.ts';
import { MemoryCodes } from '../adapters/memory-codes/memory-codes.ts';
import type { RelayDeps } from '../app.ts';
import type { RegistrarConfig } from '../config.ts';
import { RegistrarMeters } from '../metrics.ts';
import type { Clock } from '../ports.ts';
import { type CredentialIssuer, Enrolments } from '../registrar/enrolments.ts';
import { Invitations } from '../registrar/invitations.ts';
import { enrolmentService } from '../rpc/enrolment-service.ts';
import { registrarService } from '../rpc/registrar-service.ts';
import { offer, serveRpc } from '../rpc/server.ts';

export interface RegistrarAddresses {
  readonly enrolUrl: string;
  readonly rpcUrl: string;
  readonly adminUrl: string;
}

/** What a shutdown closes, first to last. */
const SHUTDOWN_ORDER = ['enrol', 'rpc', 'admin', 'enrolment keys', 'certificates'];

const clock: Clock = { monotonicMs: () => performance.now(), unixMs: () => Date.now() };

/** Resolves when devices can enrol. The lifecycle closes everything it opens. */
export async function startRegistrar(
  config: RegistrarConfig,
  deps: Omit<RelayDeps, 'machine'>,
): Promise<RegistrarAddresses> {
  const { lifecycle, log, registry, tracer } = deps;
  const { operators, enrol, devices } = config.registrar;
  lifecycle.drainOrder(SHUTDOWN_ORDER);
  publishCatalogueAt(config.errors?.catalogueUrl);
  const tls = watchTls(config.tls, { log });
  lifecycle.onDrain('certificates', async () => tls.close());
  exposeCertificate(registry, () => tls.current().cert);
  const { issuer, keySet } = await openIssuer(config, log);
  lifecycle.onDrain('enrolment keys', async () => keySet.close());
  await readDeviceFiles(devices);

  const meters = new RegistrarMeters(registry);
  const codes = new MemoryCodes(clock);
  let enrolUrl = enrol.advertisedUrl;
  const enrolments = new Enrolments({
    ...{ codes, issuer, clock, log },
    readDeviceFiles: () => readDeviceFiles(devices),
    audience: () => enrolUrl,
    onEnded: (errorId) => meters.enrolmentEnded(errorId),
  });
  const onCreated = () => meters.codeCreated();
  const invitations = new Invitations({ codes, clock, log, onCreated });

  const shared = { tls, serving: lifecycle, registry, tracer, log };
  const callers = { names: operators, setting: 'registrar.operators' };
  const administration = registrarService({ invitations, enrolUrl: () => enrolUrl });
  const rpc = await serveRpc({
    ...{ ...shared, ...config.rpc, requireClient: true },
    services: [offer(RegistrarService, administration, () => callers)],
  });
  lifecycle.onDrain('rpc', (deadline) => rpc.close(deadline));
  const { handshakeMs } = enrol.connections;
  const strangers = await serveRpc({
    ...{ ...shared, ...enrol, requireClient: false },
    // One small request, complete as soon as the first one has to be begun.
    connections: { ...enrol.connections, stalledMs: handshakeMs, idleMs: handshakeMs },
    services: [offer(EnrolmentService, enrolmentService(enrolments))],
  });
  lifecycle.onDrain('enrol', (deadline) => strangers.close(deadline));
  if (enrolUrl === '') enrolUrl = `https://localhost:${strangers.port}`;
  const listeners = exposeListener(registry, together(rpc, strangers));
  const admin = await serveAdmin({
    ...{ ...config.admin, lifecycle, registry, log },
    ...{ service: 'tool-relay', version: manifest.version, configDigest: config.digest },
    components: {
      'enrolment keys': async () => keySet.status(),
      certificate: async () => tls.status(),
      codes: async (): ReturnType<ComponentCheck> => ({ status: 'ok', detail: codes.name }),
      rpc: listeners,
    },
  });
  lifecycle.onDrain('admin', () => admin.close());
  return { enrolUrl, rpcUrl: rpc.url, adminUrl: admin.url };
}

/** The issuer, and the key set by which relays verify what it issues. */
export async function openIssuer(config: RegistrarConfig, log: KeySetOptions['log']) {
  const { enrolment, registrar } = config;
  const issuer = await openFileIssuer({
    ...{ file: registrar.issuerKeyFile, issuer: enrolment.issuer, clock },
    lifetimeMs: registrar.credentialLifetimeMs,
  });
  const setting = 'enrolment.jwksFile';
  const keySet = await watchKeySet({ file: enrolment.jwksFile, setting, log });
  const { publicKey } = generateKeyPairSync('ed25519');
  const { credential } = await issuer.issue({ tenant: 'a', deviceId: 'trial' }, publicKey);
  const rules = { nowMs: clock.unixMs(), issuer: enrolment.issuer };
  const { error } = await verifyDeviceCredential(credential, keySet.keys(), rules);
  if (error === undefined)
    return { issuer, keySet } satisfies { issuer: CredentialIssuer; keySet: unknown };
  keySet.close();
  const why = `with ${setting} relays would refuse what registrar.issuerKeyFile signs: ${error}`;
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
