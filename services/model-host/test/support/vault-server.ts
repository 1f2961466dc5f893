import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeAuthority, tempDir } from '@zerolatency/testing';

export type VaultAnswer = (response: ServerResponse, request: IncomingMessage) => void;

export interface VaultServer {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Secrets by mount and path, with their fields. */
  readonly secrets: Map<string, Record<string, unknown>>;
  /** Tokens that may read. */
  readonly tokens: Set<string>;
  /** Method and path of each request, and its namespace. */
  readonly asked: string[];
  /** In place of what follows the documentation. */
  answer: VaultAnswer | undefined;
  logins: number;
}

const ROOT_TOKEN = 'hvs.planted-vault-token-71c4';

/** The KV engine (version 2) and two ways to log in, by the documented API, over TLS. */
export async function vaultServer(t: TestContext): Promise<VaultServer> {
  const dir = tempDir(t);
  const { certFile, keyFile, caFile } = await (await makeAuthority(dir)).server('localhost');
  const tokenFile = join(dir, 'vault-token');
  await writeFile(tokenFile, `${ROOT_TOKEN}\n`);
  const server = createServer(
    { cert: readFileSync(certFile), key: readFileSync(keyFile) },
    (request, response) => void serve(vault, request, response),
  );
  server.listen(0, 'localhost');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const vault: VaultServer = {
    url: `https://localhost:${port}`,
    ...{ caFile, tokenFile, secrets: new Map(), tokens: new Set([ROOT_TOKEN]) },
    ...{ asked: [], answer: undefined, logins: 0 },
  };
  return vault;
}

async function serve(
  vault: VaultServer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url = '', headers } = request;
  let body = '';
  for await (const chunk of request) body += chunk;
  vault.asked.push([method, url, headers['x-vault-namespace'] ?? ''].join(' ').trim());
  if (vault.answer !== undefined) {
    vault.answer(response, request);
    return;
  }
  const login = /^\/v1\/auth\/([\w/-]+)\/login$/.exec(url);
  if (login !== null) {
    logIn(vault, response, { mount: login[1], body });
    return;
  }
  if (!vault.tokens.has(String(headers['x-vault-token']))) {
    reply(response, 403, { errors: ['permission denied'] });
    return;
  }
  const [, mount, path] = /^\/v1\/([^/]+)\/data\/(.+)$/.exec(url) ?? [];
  const data = vault.secrets.get(`${mount}/${path}`);
  if (data === undefined) {
    reply(response, 404, { errors: [] });
    return;
  }
  const metadata = { created_time: '2026-01-01T00:00:00Z', deletion_time: '', destroyed: false };
  const more = { request_id: 'r', lease_id: '', renewable: false, lease_duration: 0 };
  reply(response, 200, { ...more, data: { data, metadata: { ...metadata, version: 1 } } });
}

function logIn(
  vault: VaultServer,
  response: ServerResponse,
  { mount, body }: { mount: string | undefined; body: string },
): void {
  const given = JSON.parse(body);
  const isGood =
    mount === 'kubernetes'
      ? given.role === 'host' && given.jwt === 'service-account-jwt'
      : given.role_id === 'host-role' && given.secret_id === 'planted-secret-id';
  if (!isGood) {
    reply(response, 400, { errors: [`invalid login: ${body}`] });
    return;
  }
  vault.logins += 1;
  const token = `hvs.login-${vault.logins}`;
  vault.tokens.add(token);
  reply(response, 200, { auth: { client_token: token, lease_duration: 3600, renewable: true } });
}

export function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
