import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { enrolmentCodeHash, parseEnrolmentCode, signEnrolmentProof } from '@zerolatency/identity';
import { EnrolmentService } from '@zerolatency/proto/enrolment';
import { RegistrarService } from '@zerolatency/proto/registrar';
import { Lifecycle } from '@zerolatency/service/lifecycle';
import { fromConnectError } from '@zerolatency/service/rpc';
import { createLogger, createRegistry, createTracing } from '@zerolatency/service/telemetry';
import { clientTlsOptions } from '@zerolatency/service/tls';
import { makeAuthority, makeEnrolment, tempDir } from '@zerolatency/testing';
import { calculateJwkThumbprint } from 'jose';
import { startRegistrar } from '../src/app/start-registrar.ts';
import { readRegistrarConfig } from '../src/config.ts';

export const idOf = async (call: Promise<unknown>) =>
  fromConnectError(await call.catch((e: unknown) => e)).id;

/** The files that a registrar hands on, and its key. */
export async function registrarFiles(dir: string) {
  const enrolment = await makeEnrolment(dir);
  const write = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const issuerKeyFile = write('issuer-key.pem', enrolment.key.privatePem);
  chmodSync(issuerKeyFile, 0o600);
  // The registrar names its key by the thumbprint.
  const { kid: _, ...jwk } = enrolment.key.publicJwk;
  const issuerJwk = { ...jwk, kid: await calculateJwkThumbprint(jwk) };
  const jwksFile = write('issuer-keys.json', JSON.stringify({ keys: [issuerJwk] }));
  const keysDir = join(dir, 'document-keys');
  mkdirSync(keysDir);
  writeFileSync(join(keysDir, 'one.pem'), 'a public key');
  return {
    enrolment,
    issuerJwk,
    settings: {
      role: 'registrar',
      'enrolment.jwksFile': jwksFile,
      'enrolment.issuer': enrolment.issuer,
      'rpc.port': 0,
      'admin.port': 0,
      'registrar.issuerKeyFile': issuerKeyFile,
      'registrar.enrol.port': 0,
      'registrar.devices': {
        relayUrls: ['wss://relay.test/v1/device'],
        relayCaFile: write('relay-ca.pem', 'the relay authority'),
        policy: { file: write('bundle.json', 'a bundle'), keysDir },
        manifest: { file: write('manifest.json', 'a manifest'), keysDir },
      },
    },
  };
}

/** A registrar in this process with real sockets and TLS, and its clients. */
export async function registrarWorld(
  t: TestContext,
  { settings = {} }: { readonly settings?: Readonly<Record<string, JsonValue>> } = {},
) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const files = await registrarFiles(dir);
  const { certFile, keyFile, caFile } = await authority.server('localhost');
  const config = readRegistrarConfig({
    env: {},
    flags: { ...files.settings, tls: { certFile, keyFile, caFile }, ...settings },
  });
  const logLines: string[] = [];
  const lifecycle = new Lifecycle();
  const log = createLogger({
    service: 'tool-relay',
    level: 'debug',
    destination: { write: (line: string) => logLines.push(line) },
  });
  const registry = createRegistry({ service: 'tool-relay', version: '0.1.0' });
  const { tracer } = createTracing({ service: 'tool-relay', version: '0.1.0' });
  const registrar = await startRegistrar(config, { lifecycle, log, registry, tracer, env: {} });
  lifecycle.markReady();
  const open: Http2SessionManager[] = [];
  t.after(async () => {
    for (const session of open) session.abort();
    await lifecycle.shutdown({ reason: 'test over', deadlineMs: 100 });
  });
  const session = (url: string, nodeOptions: object) => {
    const manager = new Http2SessionManager(url, {}, nodeOptions);
    open.push(manager);
    return manager;
  };

  const operator = async (name = 'operator') => {
    const sessionManager = session(
      registrar.rpcUrl,
      clientTlsOptions(await authority.client(name)),
    );
    const transport = createGrpcTransport({ baseUrl: registrar.rpcUrl, sessionManager });
    return createClient(RegistrarService, transport);
  };
  const stranger = () => {
    const baseUrl = registrar.enrolUrl;
    const sessionManager = session(baseUrl, { ca: authority.ca });
    const transport = createConnectTransport({ baseUrl, httpVersion: '2', sessionManager });
    return createClient(EnrolmentService, transport);
  };
  const invite = async (wanted: { tenant?: string; deviceId?: string } = {}) =>
    (await (await operator()).createCode({ tenant: 'north', ...wanted })).code;
  const metrics = async () => (await fetch(`${registrar.adminUrl}/metrics`)).text();
  const { enrolment, issuerJwk } = files;
  return {
    authority,
    enrolment,
    issuerJwk,
    config,
    registrar,
    operator,
    stranger,
    invite,
    metrics,
    logLines,
  };
}

interface ProofOptions {
  readonly audience: string;
  readonly key?: KeyObject;
  readonly nowMs?: number;
}

/** What a bridge sends. */
export async function enrolRequest(
  code: string,
  { audience, key = newKey(), nowMs = Date.now() }: ProofOptions,
) {
  const codeHash = enrolmentCodeHash(parseEnrolmentCode(code).value ?? '');
  const { jwk: deviceKeyJwk, proof } = await signEnrolmentProof(key, {
    codeHash,
    audience,
    nowMs,
  });
  return { code, deviceKeyJwk, proof };
}

export function newKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}
