import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { ZlError } from '@zerolatency/errors';
import { maskKnown } from '@zerolatency/redaction';
import { fileFault } from '../files/index.ts';

export interface VaultOptions {
  /** https:// with a host; nothing else is asked, and no redirect followed. */
  readonly url: string;
  /** Empty: no namespace. */
  readonly namespace: string;
  /** PEM file of its authorities; absent: Node's. */
  readonly caFile?: string | undefined;
  readonly timeoutMs: number;
  readonly auth: VaultAuth;
  /** Where the operator finds these settings, such as registrar.issuerVault. */
  readonly setting: string;
  /** What to do about a status, for operators. */
  readonly remedies: Readonly<Record<number, string>>;
  readonly failed: (why: string, options?: VaultFailure) => ZlError;
}

export interface VaultFailure {
  readonly cause?: unknown;
  /** Of the answer; absent when there was none. */
  readonly status?: number;
}

/** A file is read for each request or login, so that an agent can renew what it holds. */
export type VaultAuth =
  | { readonly tokenFile: string }
  | {
      readonly kubernetes: {
        readonly mount: string;
        readonly role: string;
        readonly jwtFile: string;
      };
    }
  | {
      readonly appRole: {
        readonly mount: string;
        readonly roleId: string;
        readonly secretIdFile: string;
      };
    };

export interface VaultAnswer {
  readonly data: unknown;
  readonly leaseMs: number;
}

/** Keys, signatures and secrets are far smaller. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_SOCKETS = 16;
const MAX_PENDING = 256;
const MAX_LEASE_MS = 24 * 3_600_000;

type Body = Readonly<Record<string, unknown>>;

/** The HTTP API of HashiCorp Vault and OpenBao. */
export class VaultClient {
  readonly #options: VaultOptions;
  readonly #agent: Agent;
  #pending = 0;
  #login: { readonly token: string; readonly untilMs: number } | undefined;

  private constructor(options: VaultOptions, ca: string | undefined) {
    this.#options = options;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: MAX_SOCKETS,
      ca,
      minVersion: 'TLSv1.2',
    });
  }

  /** Asks nothing. @throws config.invalid when the file of authorities cannot be read. */
  static async open(options: VaultOptions): Promise<VaultClient> {
    const { caFile, setting } = options;
    if (caFile === undefined) return new VaultClient(options, undefined);
    const ca = await readFile(caFile, 'utf8').catch((cause: unknown) => {
      const why = `${setting}.caFile: ${caFile} cannot be read`;
      throw new ZlError('config.invalid', why, { cause });
    });
    return new VaultClient(options, ca);
  }

  /** @throws what options.failed makes of it */
  async ask(method: 'GET' | 'POST', path: string, body?: Body): Promise<VaultAnswer> {
    if (this.#pending >= MAX_PENDING) {
      throw this.#options.failed(`${MAX_PENDING} requests are under way`);
    }
    this.#pending += 1;
    try {
      const token = await this.#token();
      const answer = await this.#exchange(method, path, { token, body });
      // A login ends early when its role changes.
      if (answer.status !== 403 || this.#login === undefined) return this.#read(answer);
      this.#login = undefined;
      const again = await this.#token();
      return this.#read(await this.#exchange(method, path, { token: again, body }));
    } finally {
      this.#pending -= 1;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #token(): Promise<string> {
    const { auth } = this.#options;
    if ('tokenFile' in auth) return this.#readToken(auth.tokenFile, 'tokenFile');
    if (this.#login !== undefined && this.#login.untilMs > performance.now())
      return this.#login.token;
    const { mount, body } = await this.#credentials(auth);
    const { auth: login } = this.#parsed(
      await this.#exchange('POST', `auth/${mount}/login`, { body }),
    );
    const { client_token: token, lease_duration: seconds }: Body = { ...Object(login) };
    if (typeof token !== 'string' || !isToken(token)) {
      throw this.#options.failed('its answer to the login holds no token');
    }
    // Renewed by another login, after two thirds of its life.
    this.#login = { token, untilMs: performance.now() + (leaseMsOf(seconds) * 2) / 3 };
    return token;
  }

  async #credentials(auth: Exclude<VaultAuth, { tokenFile: string }>) {
    if ('kubernetes' in auth) {
      const { mount, role, jwtFile } = auth.kubernetes;
      return { mount, body: { role, jwt: await this.#readToken(jwtFile, 'kubernetes.jwtFile') } };
    }
    const { mount, roleId, secretIdFile } = auth.appRole;
    const secretId = await this.#readToken(secretIdFile, 'appRole.secretIdFile');
    return { mount, body: { role_id: roleId, secret_id: secretId } };
  }

  async #readToken(file: string, name: string): Promise<string> {
    const { setting, failed } = this.#options;
    const cause = await fileFault(file);
    if (cause !== undefined) throw failed(`${setting}.${name}: ${file} cannot be read`, { cause });
    const token = (await readFile(file, 'utf8')).trim();
    if (isToken(token)) return token;
    throw failed(`${setting}.${name}: ${file} does not hold a token`);
  }

  #read(answer: Exchange): VaultAnswer {
    const { data, lease_duration: seconds } = this.#parsed(answer);
    if (data !== undefined) return { data, leaseMs: leaseMsOf(seconds) };
    throw this.#unreadable();
  }

  #parsed({ status, text, secrets }: Exchange): Body {
    if (status === 200) return parse(text) ?? this.#unreadable();
    const refusal = refusalOf(status, text, this.#options.remedies);
    // A server may repeat what it was sent.
    throw this.#options.failed(maskKnown(refusal, secrets), { status });
  }

  #unreadable(): never {
    throw this.#options.failed(
      'its answer cannot be read; check that the address is that of a Vault',
    );
  }

  async #exchange(
    method: string,
    path: string,
    { token, body }: { readonly token?: string; readonly body?: Body | undefined },
  ): Promise<Exchange> {
    const { url, namespace, timeoutMs, failed } = this.#options;
    const signal = AbortSignal.timeout(timeoutMs);
    const secrets = [token, body?.jwt, body?.secret_id].filter((each) => typeof each === 'string');
    try {
      return await new Promise<Exchange>((resolve, reject) => {
        const asked = request(`${url}/v1/${path}`, {
          ...{ method, signal, agent: this.#agent },
          headers: {
            ...(token !== undefined && { 'x-vault-token': token }),
            'x-vault-request': 'true',
            'content-type': 'application/json',
            ...(namespace !== '' && { 'x-vault-namespace': namespace }),
          },
        });
        asked.on('error', reject);
        asked.on('response', (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('error', reject);
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > MAX_ANSWER_BYTES) asked.destroy(new Error('its answer is too large'));
            else chunks.push(chunk);
          });
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              text: Buffer.concat(chunks).toString(),
              secrets,
            }),
          );
        });
        asked.end(body && JSON.stringify(body));
      });
    } catch (cause) {
      if (signal.aborted) throw failed(`no answer within ${timeoutMs} ms`, { cause });
      throw failed(cause instanceof Error ? cause.message : 'cannot be reached', { cause });
    }
  }
}

interface Exchange {
  readonly status: number;
  readonly text: string;
  /** Of the request. */
  readonly secrets: readonly string[];
}

function isToken(text: string): boolean {
  return /^[\x21-\x7e]{1,4096}$/.test(text);
}

function leaseMsOf(seconds: unknown): number {
  return typeof seconds === 'number' && seconds > 0 ? Math.min(seconds * 1000, MAX_LEASE_MS) : 0;
}

function refusalOf(status: number, text: string, remedies: VaultOptions['remedies']): string {
  const errors = parse(text)?.errors;
  const said = Array.isArray(errors) ? errors.filter((each) => typeof each === 'string') : [];
  const why = said.length === 0 ? '' : `: ${said.join('; ').slice(0, 200)}`;
  const remedy = remedies[status];
  return `it answered ${status}${why}${remedy === undefined ? '' : `; ${remedy}`}`;
}

function parse(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // A proxy before it, perhaps.
    return undefined;
  }
}
