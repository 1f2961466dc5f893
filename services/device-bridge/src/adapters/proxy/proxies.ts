import { readFileSync } from 'node:fs';
import type { ClientRequest } from 'node:http';
import { Agent } from 'node:https';
import type { Socket } from 'node:net';
import { ZlError } from '@zerolatency/errors';
import { HttpsProxyAgent } from 'https-proxy-agent';

/** An HTTP proxy that tunnels connections (CONNECT). */
export interface HttpProxy {
  /** Its address, without credentials. */
  readonly url: string;
  /** Value of Proxy-Authorization. Throws file.unusable. */
  authorization(): string | undefined;
}

export interface ProxySettings {
  readonly url: string;
  /** Holds user:password. */
  readonly credentialsFile?: string | undefined;
}

type Env = Readonly<Record<string, string | undefined>>;

/** What reaches an address: the proxy of the settings, or else of the environment, or none. */
export class Proxies {
  readonly #own: HttpProxy | undefined;
  readonly #others: HttpProxy | undefined;
  readonly #exceptions: readonly string[];

  /** Throws config.invalid when a proxy's address cannot be used. */
  constructor(settings: ProxySettings | undefined, env: Env) {
    const { HTTPS_PROXY, https_proxy: given = HTTPS_PROXY ?? '' } = env;
    const { NO_PROXY, no_proxy: exceptions = NO_PROXY ?? '' } = env;
    this.#own = settings && proxyOf('relay.proxy.url', settings);
    this.#others = given === '' ? undefined : proxyOf('HTTPS_PROXY', { url: given });
    this.#exceptions = exceptions.split(/[\s,]+/).filter((name) => name !== '');
  }

  for(url: string): HttpProxy | undefined {
    if (this.#own !== undefined) return this.#own;
    const { hostname, port } = new URL(url);
    const isDirect =
      isLoopback(hostname) ||
      this.#exceptions.some((exception) => excepts(exception, { hostname, port: port || '443' }));
    return isDirect ? undefined : this.#others;
  }
}

/** A variable of the environment must not keep a machine from itself. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.[\d.]+$/.test(hostname);
}

/** As curl and most others read NO_PROXY: a name means its subdomains too. */
function excepts(exception: string, { hostname, port }: { hostname: string; port: string }) {
  if (exception === '*') return true;
  const [, given = '', onlyPort = port] = /^(.+?)(?::(\d+))?$/.exec(exception.toLowerCase()) ?? [];
  const name = given.replace(/^\*?\./, '');
  return onlyPort === port && (hostname === name || hostname.endsWith(`.${name}`));
}

function proxyOf(setting: string, { url: given, credentialsFile }: ProxySettings): HttpProxy {
  // The environment often names host and port only.
  const full = given.includes('://') ? given : `http://${given}`;
  const { protocol = '', origin = '', own = '' } = partsOf(full) ?? {};
  if (!/^https?:$/.test(protocol)) {
    // Not the address itself: it may hold a password.
    throw new ZlError('config.invalid', `${setting} is not an http:// or https:// address`);
  }
  return {
    url: origin,
    authorization: () => {
      const credentials = credentialsFile === undefined ? own : readCredentials(credentialsFile);
      return credentials === ''
        ? undefined
        : `Basic ${Buffer.from(credentials).toString('base64')}`;
    },
  };
}

function partsOf(address: string) {
  try {
    const { protocol, origin, username, password } = new URL(address);
    const own = username && `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return { protocol, origin, own };
  } catch {
    // Neither a URL nor percent-encoded; the caller refuses it.
    return undefined;
  }
}

function readCredentials(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new ZlError('file.unusable', `relay.proxy.credentialsFile ${file} cannot be read`, {
      cause,
    });
  }
}

/** The connections of one attempt to reach a server: what they came to, and their end. */
export class Route {
  readonly #proxy: HttpProxy | undefined;
  readonly #ended = new AbortController();
  readonly #agents: Agent[] = [];
  #isReached = false;
  #proxyStatus = 0;

  constructor(proxy: HttpProxy | undefined) {
    this.#proxy = proxy;
  }

  /** TLS was opened with the server, or with a proxy in its place. */
  get isReached(): boolean {
    return this.#isReached;
  }

  /** With `keepAlive` one connection serves one request after the other. */
  agent(keepAlive: boolean): Agent {
    const options = keepAlive ? { keepAlive, maxSockets: 1 } : { keepAlive };
    const agent = this.#proxy === undefined ? new Agent(options) : this.#tunnel(options);
    this.#agents.push(agent);
    return agent;
  }

  follow(request: ClientRequest): void {
    request.on('socket', (socket: Socket) => {
      socket.once('secureConnect', () => {
        this.#isReached = true;
      });
    });
  }

  /** Why no connection came about: `why`, or what the proxy has to do with it. */
  explain(why: string): string {
    const refusal = this.refusal(why);
    return refusal === undefined ? why : `${refusal.id}: ${refusal.message}`;
  }

  /** Undefined where it is not the proxy that stands in the way. */
  refusal(why: string): ZlError | undefined {
    const { url } = this.#proxy ?? {};
    if (url === undefined || this.#isReached || this.#proxyStatus === 200) return undefined;
    const refused = (what: string) => new ZlError('proxy.refused', `the proxy ${url} ${what}`);
    switch (this.#proxyStatus) {
      case 0:
        return refused(`cannot be used (${why}); check its address`);
      case 407:
        return refused('does not take these credentials (407); check relay.proxy.credentialsFile');
      default:
        return refused(
          `does not connect to this address (${this.#proxyStatus}); ask those who run it to allow it`,
        );
    }
  }

  /** Closes what is not in use, and what has not come about. */
  end(): void {
    if (!this.#isReached) this.#ended.abort();
    for (const agent of this.#agents) agent.destroy();
  }

  #tunnel(options: { readonly keepAlive: boolean; readonly maxSockets?: number }): Agent {
    const { url = '', authorization } = this.#proxy ?? {};
    const value = authorization?.();
    const agent = new HttpsProxyAgent(url, {
      ...options,
      signal: this.#ended.signal,
      headers: () => (value === undefined ? {} : { 'Proxy-Authorization': value }),
    });
    return agent.on('proxyConnect', ({ statusCode }: { readonly statusCode: number }) => {
      this.#proxyStatus = statusCode;
    });
  }
}
