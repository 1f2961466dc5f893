import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPair } from '@zerolatency/signing';
import { makeAuthority, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { lifetime } from '../lifetime.ts';
import { isInstalled, PACKAGE, startPortkey } from '../peers/portkey.ts';
import { type Program, startProgram } from '../relay/program.ts';
import { type AskTurn, plainClient, rpcClient } from './client.ts';

export interface Server {
  readonly program: Pick<Program, 'cpuUs' | 'rssBytes'>;
  readonly ask: AskTurn;
}

export interface StreamServers {
  readonly host: Server;
  readonly bare: Server;
}

/** High enough that the run is never refused. */
const LIMITS = {
  turnsPerPod: 5000,
  turnsPerTenant: 5000,
  turnsPerUser: 5000,
  streamsPerUser: 5000,
};

/** A vendor on loopback, and what asks it: a loop around the vendor's package, and a gateway where it is installed. */
export async function startPeers(): Promise<{
  readonly vendorUrl: string;
  readonly sdk: Server;
  readonly portkey: Server | undefined;
}> {
  const vendor = await startProgram('bench/streams/vendor.ts', []);
  const vendorUrl = vendor.ready.url ?? '';
  const sdk = await startProgram('bench/floors/sdk-stream.ts', [vendorUrl]);
  const sdkClient = plainClient({ url: sdk.ready.url ?? '', headers: {}, bodyOf: (text) => text });
  if (!isInstalled) return { vendorUrl, sdk: { program: sdk, ask: sdkClient }, portkey: undefined };
  const gateway = await startPortkey();
  const ask = plainClient({
    url: `${gateway.url}/v1/chat/completions`,
    headers: {
      ...{ 'content-type': 'application/json', authorization: 'Bearer none' },
      ...{ 'x-portkey-provider': 'openai', 'x-portkey-custom-host': vendorUrl },
    },
    bodyOf: (content) =>
      JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content }] }),
  });
  // On some releases of Node it fails on every streamed reply.
  const isWorking = await ask('deltas=1 pace=0').then(
    () => true,
    (reason) => {
      console.log(`${PACKAGE} is left out: ${reason}`);
      return false;
    },
  );
  const portkey = isWorking ? { program: gateway, ask } : undefined;
  return { vendorUrl, sdk: { program: sdk, ask: sdkClient }, portkey };
}

/** A host, and the bare Connect server of the same messages, both over TLS and with the same script. */
export async function startServers(script: string, vendorUrl: string): Promise<StreamServers> {
  const dir = tempDir(lifetime);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server();
  const issuer = await makeTokenIssuer(dir);
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const scriptFile = file('script.yaml', script);
  const { jwksFile, issuer: iss, audience } = issuer;
  const config = {
    rpc: { port: 0, tls: { certFile, keyFile, caFile } },
    admin: { port: 0 },
    identity: { jwksFile, issuer: iss, audience },
    ledger: {
      dir: join(dir, 'ledger'),
      key: { file: file('key.pem', generateKeyPair().privatePem) },
    },
    providers: {
      mock: { scriptFile },
      vendors: { local: { type: 'openai-compatible', baseUrl: vendorUrl } },
    },
    models: {
      aliases: {
        mock: { provider: 'mock', model: 'scripted' },
        vendor: { provider: 'local', model: 'm' },
      },
    },
    limits: LIMITS,
    turn: { maxOutputTokens: 10_000_000, timeout: '1h' },
    log: { level: 'warn' },
  };
  const args = ['--config', file('host.yaml', JSON.stringify(config))];
  const host = await startProgram('dist/model-host/main.mjs', args);
  const floor = [scriptFile, certFile, keyFile];
  const bare = await startProgram('bench/floors/connect-stream.ts', floor);
  const client = (program: Program, token: string) =>
    rpcClient({ url: program.ready.rpc ?? '', caFile, token });
  return {
    host: { program: host, ask: client(host, await issuer.token()) },
    bare: { program: bare, ask: client(bare, '') },
  };
}
