import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { type ListDevicesResponse, RelayService } from '@zerolatency/proto/relay';
import { ClientSessions, fromConnectError } from '@zerolatency/service/rpc';
import { inject } from '@zerolatency/service/telemetry';
import { clientTlsOptions, type TlsMaterial } from '@zerolatency/service/tls';
import { LRUCache } from 'lru-cache';
import type { RelayPod, RelayPods } from './relay-pods.ts';

export interface LocatedRelay {
  readonly relayId: string;
  readonly linkUrl: string;
  readonly epoch: number;
}

export interface DeviceLocatorOptions {
  readonly pods: RelayPods;
  readonly tls: { current(): TlsMaterial };
  readonly timeoutMs: number;
  /** After this long without an answer the next pod is asked too. */
  readonly hedgeMs: number;
  /** The time of day of the relay that answered, to the second. */
  readonly onTime: (relayUnixMs: number) => void;
}

interface KnownOwner {
  readonly owner: LocatedRelay;
  /** The URL of the pod that named it. */
  readonly toldBy: string;
  /** Denied: it said itself that it does not hold the device. */
  readonly state: 'current' | 'lost' | 'denied';
}

interface Peer {
  readonly material: TlsMaterial;
  readonly connections: ClientSessions;
  readonly previous: ClientSessions | undefined;
  readonly client: Client<typeof RelayService>;
}

/** Enough for every device this host called lately. */
const MAX_CACHED_OWNERS = 10_000;

/** Asks any relay pod which one holds a device; the pod that answered is asked first the next time. */
export class DeviceLocator {
  readonly #options: DeviceLocatorOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #owners = new LRUCache<string, KnownOwner>({ max: MAX_CACHED_OWNERS });
  #preferred = '';

  constructor(options: DeviceLocatorOptions) {
    this.#options = options;
  }

  cached(tenant: string, deviceId: string): LocatedRelay | undefined {
    const known = this.#owners.get(ownerKey(tenant, deviceId));
    return known?.state === 'current' ? known.owner : undefined;
  }

  /** The last pod that held the device, also when it may have left it since. */
  lastRelayId(tenant: string, deviceId: string): string | undefined {
    return this.#owners.get(ownerKey(tenant, deviceId))?.owner.relayId;
  }

  /** The next use of the device looks it up again. */
  doubt(tenant: string, deviceId: string, state: 'lost' | 'denied'): void {
    const key = ownerKey(tenant, deviceId);
    const known = this.#owners.get(key);
    if (known?.state === 'current') this.#owners.set(key, { ...known, state });
  }

  /** For a device that is not expected back. */
  forget(tenant: string, deviceId: string): void {
    this.#owners.delete(ownerKey(tenant, deviceId));
  }

  async locate(tenant: string, deviceId: string, signal: AbortSignal): Promise<LocatedRelay> {
    const key = ownerKey(tenant, deviceId);
    const known = this.#owners.get(key);
    const { answer, toldBy } = await this.#ask(
      async (client, options, url) => ({
        answer: await client.locate({ tenant, deviceId }, options),
        toldBy: url,
      }),
      signal,
      // Without its directory the pod that was wrong would say the same again.
      known?.state === 'denied' ? known.toldBy : undefined,
    );
    const { relayId, linkUrl, epoch } = answer;
    const owner = { relayId, linkUrl, epoch: Number(epoch) };
    this.#owners.set(key, { owner, toldBy, state: 'current' });
    return owner;
  }

  list(tenant: string, signal: AbortSignal): Promise<ListDevicesResponse> {
    return this.#ask((client, options) => client.listDevices({ tenant }, options), signal);
  }

  close(): void {
    for (const { connections, previous } of this.#peers.values()) {
      connections.abort();
      previous?.abort();
    }
    this.#peers.clear();
  }

  /** Asks the pod after the given one first, or else the one that answered last. */
  async #ask<T>(call: Ask<T>, signal: AbortSignal, after?: string): Promise<T> {
    const { pods, timeoutMs, onTime } = this.#options;
    const traceparent = inject();
    const headers: Record<string, string> = traceparent === '' ? {} : { traceparent };
    const onHeader = (answer: Headers) => {
      const relayUnixMs = Date.parse(answer.get('date') ?? '');
      if (!Number.isNaN(relayUnixMs)) onTime(relayUnixMs);
    };
    const isOver = new AbortController();
    const options = {
      signal: AbortSignal.any([signal, isOver.signal]),
      ...{ timeoutMs, headers, onHeader },
    };
    try {
      const found = await pods.current();
      const named = found.findIndex(({ url }) => url === (after ?? this.#preferred));
      const first = named === -1 ? 0 : named + (after === undefined ? 0 : 1);
      const inTurn = [...found.slice(first), ...found.slice(0, first)];
      return await this.#askInTurn(inTurn, (client, url) => call(client, options, url));
    } catch (error) {
      signal.throwIfAborted();
      if (!isAnswer(error)) pods.doubt();
      throw error;
    } finally {
      // Whoever was asked beside the one that answered.
      isOver.abort();
    }
  }

  /** Asks the next pod when one fails, and beside one that is slow: a pod that is gone may not refuse. */
  async #askInTurn<T>(
    [pod, ...others]: readonly RelayPod[],
    ask: (client: Client<typeof RelayService>, url: string) => Promise<T>,
  ): Promise<T> {
    if (pod === undefined) throw new ZlError('relay.unreachable', 'no relay pod is known');
    const asked = ask(this.#peer(pod).client, pod.url).then(
      (answer) => {
        this.#preferred = pod.url;
        return answer;
      },
      (reason: unknown) => {
        throw errorOf(reason, pod);
      },
    );
    if (others.length === 0) return asked;
    const { promise: isSlow, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#options.hedgeMs);
    try {
      const isDone = await Promise.race([asked.then(() => true), isSlow.then(() => false)]);
      if (isDone) return await asked;
    } catch (error) {
      if (isAnswer(error)) throw error;
      return await this.#askInTurn(others, ask).catch((next: unknown) => {
        // It says more than that another pod cannot be reached.
        throw isDegraded(error) && !isAnswer(next) ? error : next;
      });
    } finally {
      clearTimeout(timer);
    }
    return await firstAnswer(asked, this.#askInTurn(others, ask));
  }

  #peer({ url, serverName }: RelayPod): Peer {
    const material = this.#options.tls.current();
    const existing = this.#peers.get(url);
    if (existing?.material === material) return existing;
    // The certificate was renewed: requests on the last connection may end there, older ones are aborted.
    existing?.previous?.abort();
    const name = serverName === undefined ? {} : { servername: serverName };
    const connections = new ClientSessions(url, { ...clientTlsOptions(material), ...name });
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: '2',
      sessionManager: connections,
    });
    const client = createClient(RelayService, transport);
    const peer = { material, connections, client, previous: existing?.connections };
    this.#peers.set(url, peer);
    return peer;
  }
}

interface CallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly headers: Record<string, string>;
  readonly onHeader: (answer: Headers) => void;
}

type Ask<T> = (
  client: Client<typeof RelayService>,
  options: CallOptions,
  url: string,
) => Promise<T>;

function errorOf(reason: unknown, { url }: RelayPod): ZlError {
  const error = fromConnectError(reason);
  if (isAnswer(error) || isDegraded(error)) return error;
  return new ZlError('relay.unreachable', `${url}: ${describe(reason)}`, { cause: reason });
}

/** Any other pod would give the same. */
function isAnswer(error: unknown): boolean {
  return error instanceof ZlError && /^(device|identity)\./.test(error.id);
}

/** The pod does not know, because it cannot reach the directory; another one may. */
function isDegraded(error: unknown): boolean {
  return error instanceof ZlError && error.id === 'directory.degraded';
}

/** Asks two pods; returns an error only where that is the answer, or both failed. */
function firstAnswer<T>(one: Promise<T>, other: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let failed = 0;
    for (const asked of [one, other]) {
      asked.then(resolve, (error: unknown) => {
        failed += 1;
        if (isAnswer(error) || failed === 2) reject(error);
      });
    }
  });
}

/** Connect's message has the network error; the message of ours may hide it. */
function describe(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'failed';
}

function ownerKey(tenant: string, deviceId: string): string {
  return JSON.stringify([tenant, deviceId]);
}
