import { lookup, Resolver } from 'node:dns/promises';
import { isIPv6 } from 'node:net';

/** A relay pod, as a host asks it. */
export interface RelayPod {
  /** https. */
  readonly url: string;
  /** What its certificate must name, where that is not the host of the URL. */
  readonly serverName?: string;
}

/** A name that stands for pods, such as a headless service. */
interface PodName {
  readonly host: string;
  readonly port: string;
  /** The DNS server to ask, with its port; undefined for that of the system. */
  readonly server: string | undefined;
}

/** `dns:///name:port`, or `dns://server:port/name:port`, as gRPC writes it. */
const NAME_PATTERN = /^dns:\/\/(?<server>[^/]*)\/(?<host>[^/:]+):(?<port>\d+)$/;
/** A new pod is asked this much later at most; one that is gone costs a failed try until then. */
const REFRESH_MS = 10_000;
/** The first of a longer list suffice: any pod knows every device. */
const MAX_PODS = 256;

/** The pods that are configured by URL, and those behind configured names. */
export class RelayPods {
  readonly #fixed: readonly RelayPod[];
  readonly #names: readonly PodName[];
  #found: readonly RelayPod[] = [];
  #foundAtMs = Number.NEGATIVE_INFINITY;
  #search: Promise<void> | undefined;

  constructor(urls: readonly string[]) {
    const names = urls.map((url) => ({ url, name: readName(url) }));
    this.#fixed = names.flatMap(({ url, name }) => (name === undefined ? [{ url }] : []));
    this.#names = names.flatMap(({ name }) => name ?? []);
  }

  /** Waits for a search only while no pod is known. */
  async current(): Promise<readonly RelayPod[]> {
    if (this.#names.length === 0) return this.#fixed;
    const isOld = performance.now() - this.#foundAtMs >= REFRESH_MS;
    if (isOld) this.#search ??= this.#find();
    if (this.#found.length === 0) await this.#search;
    return [...this.#fixed, ...this.#found].slice(0, MAX_PODS);
  }

  /** None of them answered: the next look searches again. */
  doubt(): void {
    this.#foundAtMs = Number.NEGATIVE_INFINITY;
  }

  async #find(): Promise<void> {
    const found = await Promise.all(this.#names.map(podsOf));
    // A name that does not resolve now leaves the pods that it had.
    if (found.some((pods) => pods.length > 0)) this.#found = found.flat();
    this.#foundAtMs = performance.now();
    this.#search = undefined;
  }
}

function readName(url: string): PodName | undefined {
  const { server, host = '', port = '' } = NAME_PATTERN.exec(url)?.groups ?? {};
  return host === '' ? undefined : { host, port, server: server === '' ? undefined : server };
}

async function podsOf({ host, port, server }: PodName): Promise<RelayPod[]> {
  const addresses = await (server === undefined
    ? systemAddresses(host)
    : addressesAt(server, host));
  return addresses.map((address) => ({
    url: `https://${isIPv6(address) ? `[${address}]` : address}:${port}`,
    serverName: host,
  }));
}

async function systemAddresses(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true, order: 'verbatim' }).catch(() => []);
  return found.map(({ address }) => address);
}

async function addressesAt(server: string, host: string): Promise<string[]> {
  const resolver = new Resolver();
  resolver.setServers([server]);
  const none = (): string[] => [];
  const found = [resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)];
  return (await Promise.all(found)).flat();
}
