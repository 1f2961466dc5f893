import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService } from '@zerolatency/proto/agent';
import { Lifecycle } from '@zerolatency/service/lifecycle';
import {
  createLogger,
  createRegistry,
  createTracing,
  type TracingOptions,
} from '@zerolatency/service/telemetry';
import {
  makeAuthority,
  makeTokenIssuer,
  type TestTokenIssuer,
  tempDir,
} from '@zerolatency/testing';
import type { OpenedTools, ToolsDeps } from '../../src/app/open-tools.ts';
import { type HostAddresses, serveHost } from '../../src/app.ts';
import { type HostConfig, readHostConfig } from '../../src/config.ts';
import {
  type FakeRecorder,
  type FakeTool,
  type FakeToolboxes,
  fakeRecorder,
  fakeToolboxes,
} from './fake-toolbox.ts';

export interface TestHost {
  readonly addresses: HostAddresses;
  readonly lifecycle: Lifecycle;
  readonly issuer: TestTokenIssuer;
  readonly ca: string;
  readonly authority: Awaited<ReturnType<typeof makeAuthority>>;
  readonly tls: { readonly certFile: string; readonly keyFile: string; readonly caFile: string };
  readonly toolboxes: FakeToolboxes;
  readonly recorder: FakeRecorder;
  readonly logs: Record<string, unknown>[];
  client(protocol: 'connect' | 'grpc', token: string): Client<typeof AgentService>;
}

export interface TestHostOptions {
  /** Rules of a mock script; the script that comes with the host when absent. */
  readonly rules?: string;
  readonly tools?: Readonly<Record<string, FakeTool>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly recorder?: Partial<OpenedTools['recorder']>;
  readonly onSpan?: TracingOptions['onSpan'];
  readonly overview?: Partial<OpenedTools['overview']>;
  readonly components?: OpenedTools['components'];
  /** The ledger and policy of a real host in place of fakes. */
  readonly open?: (config: HostConfig, deps: ToolsDeps) => Promise<OpenedTools>;
}

const NO_OVERVIEW: OpenedTools['overview'] = {
  policy: { current: () => ({ state: 'none' }) },
  contracts: { find: () => undefined, all: [] },
  relay: undefined,
};

/** A whole host in this process, over TLS, with tools of the test in place of devices. */
export async function startTestHost(
  t: TestContext,
  options: TestHostOptions = {},
): Promise<TestHost> {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const tls = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  const toolboxes = fakeToolboxes(options.tools ?? {});
  const recorder = { ...fakeRecorder(), ...options.recorder };
  const logs: Record<string, unknown>[] = [];
  const lifecycle = new Lifecycle();
  const tracing = createTracing({
    service: 'model-host',
    version: '0',
    ...(options.onSpan && { onSpan: options.onSpan }),
  });
  const config = await testConfig(dir, { tls, issuer, options });
  const addresses = await serveHost(
    config,
    {
      lifecycle,
      env: options.env ?? {},
      registry: createRegistry({ service: 'model-host', version: '0' }),
      log: createLogger({
        service: 'model-host',
        level: 'debug',
        destination: { write: (line: string) => void logs.push(JSON.parse(line)) },
      }),
      tracer: tracing.tracer,
    },
    async (deps) =>
      options.open?.(config, deps) ?? {
        ...{ toolboxes, recorder, assertWritable() {}, components: options.components ?? {} },
        overview: { ...NO_OVERVIEW, ...options.overview },
      },
  );
  lifecycle.markReady();
  t.after(() => lifecycle.shutdown({ reason: 'test over', deadlineMs: 0 }));
  const client: TestHost['client'] = (protocol, token) => {
    const nodeOptions = { ca: authority.ca };
    const settings = { baseUrl: addresses.rpc, nodeOptions, interceptors: [withToken(token)] };
    const transport =
      protocol === 'grpc'
        ? createGrpcTransport(settings)
        : createConnectTransport({ ...settings, httpVersion: '2' });
    return createClient(AgentService, transport);
  };
  const { ca } = authority;
  return { addresses, lifecycle, issuer, ca, authority, tls, toolboxes, recorder, logs, client };
}

async function testConfig(
  dir: string,
  {
    tls,
    issuer,
    options,
  }: {
    tls: { certFile: string; keyFile: string; caFile: string };
    issuer: TestTokenIssuer;
    options: TestHostOptions;
  },
) {
  const scriptFile = join(dir, 'script.yaml');
  const { rules = '' } = options;
  if (rules !== '') {
    await writeFile(scriptFile, `schema: zerolatency.mock-script/v1\nrules:\n${rules}`);
  }
  const { certFile, keyFile, caFile } = tls;
  return readHostConfig({
    env: {},
    flags: {
      'rpc.port': 0,
      'rpc.tls': { certFile, keyFile, caFile },
      'admin.port': 0,
      'identity.jwksFile': issuer.jwksFile,
      'identity.issuer': issuer.issuer,
      'identity.audience': issuer.audience,
      ...(options.settings?.['ledger.engine'] !== 'postgres' && {
        'ledger.dir': join(dir, 'ledger'),
      }),
      'ledger.key': { file: join(dir, 'key.pem') },
      'providers.mock.scriptFile': rules === '' ? '' : scriptFile,
      ...options.settings,
    },
  });
}

function withToken(token: string): Interceptor {
  return (next) => (request) => {
    if (token !== '') request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
}
