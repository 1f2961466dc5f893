import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { makeAuthority, type TestTokenIssuer, tempDir } from '@zerolatency/testing';
import { openTokenVerifier } from '../../src/adapters/jwks/token-verifier.ts';
import type { IssuerRules } from '../../src/identity-settings.ts';

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export interface KeyServer {
  readonly origin: string;
  readonly caFile: string;
  /** Paths in the order in which they were asked for. */
  readonly asked: string[];
  answer: Answer;
}

export const LOOPBACK = ['127.0.0.0/8', '::1/128'];

export function jwks(...issuers: readonly Pick<TestTokenIssuer, 'key'>[]): { keys: object[] } {
  return { keys: issuers.map(({ key }) => key.publicJwk) };
}

export function json(value: unknown, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };
}

/** A token issuer's web server, over TLS on loopback. */
export async function startKeyServer(t: TestContext, answer: Answer): Promise<KeyServer> {
  const { cert, key, caFile } = await (await makeAuthority(tempDir(t))).server();
  const server = createServer({ cert, key }, (request, response) => {
    started.asked.push(request.url ?? '');
    // A client that is not interested any more resets the connection.
    response.on('error', () => {});
    started.answer(response, request);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const started: KeyServer = { origin: `https://localhost:${port}`, caFile, asked: [], answer };
  return started;
}

export interface RemoteVerifierOptions {
  readonly rules?: Partial<IssuerRules>;
  readonly refresh?: { readonly minMs: number; readonly maxMs: number; readonly maxAgeMs: number };
  readonly allowNetworks?: readonly string[];
}

const SLOW = { minMs: 60_000, maxMs: 60_000, maxAgeMs: 120_000 };

/** A verifier that reads the keys of this issuer at the server. */
export async function openRemote(
  t: TestContext,
  { origin, caFile }: KeyServer,
  options: RemoteVerifierOptions = {},
) {
  const { rules, refresh = SLOW, allowNetworks = LOOPBACK } = options;
  const reads: string[] = [];
  const logged: string[] = [];
  const note = (_: object, message: string) => logged.push(message);
  const issuer: IssuerRules = {
    ...{ name: 'main', issuer: 'https://issuer.test', audience: 'zero-latency' },
    keys: { url: new URL(`${origin}/keys`), discovers: undefined, caFile },
    ...rules,
  };
  const verifier = await openTokenVerifier(
    { issuers: [issuer], refresh, allowNetworks },
    { log: { info: note, warn: note }, onRead: (_, result) => reads.push(result) },
  );
  t.after(() => verifier.close());
  return { verifier, reads, logged };
}
