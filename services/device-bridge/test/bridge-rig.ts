import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Manifest, type ManifestServer, SERVER_MANIFEST } from '@zerolatency/manifest';
import { type Bundle, POLICY_BUNDLE, type Rule } from '@zerolatency/policy';
import { currentBundle } from '@zerolatency/policy/testing';
import { Lifecycle } from '@zerolatency/service/lifecycle';
import {
  createLogger,
  createRegistry,
  createTracing,
  type TracingOptions,
} from '@zerolatency/service/telemetry';
import { signDocument, signerFromPem } from '@zerolatency/signing';
import {
  makeAuthority,
  makeEnrolment,
  makeKey,
  type Teardown,
  type TestDevice,
  tempDir,
} from '@zerolatency/testing';
import { startBridge } from '../src/app.ts';
import { type BridgeConfig, readBridgeConfig } from '../src/config.ts';
import { DeviceRelay } from './device-relay.ts';
import { FakeHost } from './fake-host.ts';
import { manifestOf } from './manifests.ts';

export const ALLOW_ALL: Rule = { id: 'all', effect: 'allow', tools: ['*.*'] };

interface RigOptions {
  readonly servers: (root: string) => readonly ManifestServer[];
  readonly rules?: readonly Rule[];
  readonly bundle?: Partial<Bundle>;
  readonly settings?: Record<string, unknown>;
  readonly onSpan?: NonNullable<TracingOptions['onSpan']>;
  /** The bridge's own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Everything that a bridge needs, real except for the relay and the host. */
export async function makeRig(t: Teardown, options: RigOptions) {
  const dir = tempDir(t);
  const root = join(dir, 'root');
  const keysDir = join(dir, 'keys');
  mkdirSync(root);
  mkdirSync(keysDir);
  writeFileSync(join(root, 'hello.txt'), 'hello');
  const key = makeKey();
  const signers = [signerFromPem(key.privatePem)];
  writeFileSync(join(keysDir, 'policy.pem'), key.publicPem);
  const authority = await makeAuthority(dir);
  const enrolment = await makeEnrolment(dir);
  const device: TestDevice = await enrolment.device({ deviceId: 'laptop', tenant: 'north' });
  const tls = await authority.server();
  const jwks = JSON.parse(readFileSync(enrolment.jwksFile, 'utf8'));
  const relay = new DeviceRelay({ tls, jwks });
  await relay.listen();
  t.after(() => relay.close());

  const bundleFile = join(dir, 'bundle.json');
  const install = async (bundle: Partial<Bundle>) => {
    writeFileSync(
      bundleFile,
      await signDocument(POLICY_BUNDLE, currentBundle({ id: 'test', ...bundle }), signers),
    );
  };
  await install({ rules: options.rules ?? [ALLOW_ALL], ...options.bundle });
  const manifestFile = join(dir, 'manifest.json');
  const installManifest = async (manifest: Partial<Manifest>) => {
    const envelope = await signDocument(
      SERVER_MANIFEST,
      { ...manifestOf([]), ...manifest },
      signers,
    );
    // A running bridge must not read half a file.
    writeFileSync(`${manifestFile}.next`, envelope);
    renameSync(`${manifestFile}.next`, manifestFile);
  };
  await installManifest({ servers: options.servers(root) });

  const settings = {
    stateDir: join(dir, 'state'),
    'relay.urls': [relay.url],
    'relay.caFile': authority.caFile,
    'relay.minBackoff': '10ms',
    'relay.maxBackoff': '100ms',
    'device.credentialFile': device.credentialFile,
    'device.keyFile': device.keyFile,
    'policy.bundleFile': bundleFile,
    'policy.keysDir': keysDir,
    'servers.manifestFile': manifestFile,
    'servers.keysDir': keysDir,
    'servers.minBackoff': '10ms',
    'servers.maxBackoff': '100ms',
    ...options.settings,
  };
  const config = readBridgeConfig({ env: {}, flags: settings });
  const host = new FakeHost(relay);
  return {
    signers,
    dir,
    root,
    relay,
    host,
    config,
    device,
    install,
    installManifest,
    bundleFile,
    manifestFile,
    settings,
    onSpan: options.onSpan,
    env: options.env ?? {},
  };
}

export type Rig = Awaited<ReturnType<typeof makeRig>>;

export async function startRigBridge(t: TestContext, rig: Rig, config: BridgeConfig = rig.config) {
  const lifecycle = new Lifecycle();
  const log = createLogger({ service: 'device-bridge', level: 'silent' });
  const { onSpan, env } = rig;
  const stop = () => lifecycle.shutdown({ reason: 'test', deadlineMs: 5_000 });
  t.after(stop);
  const service = { service: 'device-bridge', version: '0' };
  const tracing = createTracing({ ...service, ...(onSpan && { onSpan }) });
  const started = startBridge(config, {
    lifecycle,
    log,
    registry: createRegistry(service),
    tracer: tracing.tracer,
    env,
  });
  // Close what was opened before the failure, as runService does.
  const bridge = await started.catch(async (error) => {
    await stop();
    throw error;
  });
  lifecycle.markReady();
  return { bridge, lifecycle, stop };
}

export async function runRig(t: TestContext, options: RigOptions) {
  const rig = await makeRig(t, options);
  return { ...rig, ...(await startRigBridge(t, rig)) };
}
