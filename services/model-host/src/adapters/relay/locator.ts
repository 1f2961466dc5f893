import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { type ListDevicesResponse, RelayService } from '@zerolatency/proto/relay';
import { ClientSessions, fromConnectError } from '@zerolatency/service/rpc';
import { inject } from '@zerolatency/service/telemetry';
import { clientTlsOptions, type TlsMaterial } from '@zerolatency/service/tls';
import { LRUCache } from 'lru-cache';

export interface LocatedRelay {
  readonly relayId: string;
  readonly linkUrl: string;
  readonly epoch: number;
}

export interface DeviceLocatorOptions {
  readonly urls: readonly string[];
  readonly tls: { current(): TlsMaterial };
  readonly timeoutMs: number;
  /** The time of day of the relay that answered, to the second. */
  readonly onTime: (relayUnixMs: number) => void;
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
  readonly #owners = new LRUCache<string, LocatedRelay>({ max: MAX_CACHED_OWNERS });
  #preferred = 0;

  constructor(options: DeviceLocatorOptions) {
    this.#options = options;
  }

  cached(tenant: string, deviceId: string): LocatedRelay | undefined {
    return this.#owners.get(ownerKey(tenant, deviceId));
  }

  forget(tenant: string, deviceId: string): void {
    this.#owners.delete(ownerKey(tenant, deviceId));
  }

  async locate(tenant: string, deviceId: string, signal: AbortSignal): Promise<LocatedRelay> {
    const { relayId, linkUrl, epoch } = await this.#ask(
      (client, options) => client.locate({ tenant, deviceId }, options),
      signal,
    );
    const owner = { relayId, linkUrl, epoch: Number(epoch) };
    this.#owners.set(ownerKey(tenant, deviceId), owner);
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

  async #ask<T>(
    call: (client: Client<typeof RelayService>, options: CallOptions) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { urls, timeoutMs, onTime } = this.#options;
    const traceparent = inject();
    const headers: Record<string, string> = traceparent === '' ? {} : { traceparent };
    const onHeader = (answer: Headers) => {
      const relayUnixMs = Date.parse(answer.get('date') ?? '');
      if (!Number.isNaN(relayUnixMs)) onTime(relayUnixMs);
    };
    let last = new ZlError('relay.unreachable', 'no relay url is configured');
    for (let tried = 0; tried < urls.length; tried += 1) {
      const index = (this.#preferred + tried) % urls.length;
      const url = urls[index];
      if (url === undefined) continue;
      try {
        const answer = await call(this.#peer(url).client, { signal, timeoutMs, headers, onHeader });
        this.#preferred = index;
        return answer;
      } catch (reason) {
        const error = fromConnectError(reason);
        // An answer, and any other pod would give the same.
        if (error.id.startsWith('device.') || error.id.startsWith('identity.')) throw error;
        signal.throwIfAborted();
        last = new ZlError('relay.unreachable', `${url}: ${describe(reason)}`, { cause: reason });
      }
    }
    throw last;
  }

  #peer(url: string): Peer {
    const material = this.#options.tls.current();
    const existing = this.#peers.get(url);
    if (existing?.material === material) return existing;
    // The certificate was renewed: requests on the last connection may end there, older ones are aborted.
    existing?.previous?.abort();
    const connections = new ClientSessions(url, clientTlsOptions(material));
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

/** Connect's message has the network error; the message of ours may hide it. */
function describe(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'failed';
}

function ownerKey(tenant: string, deviceId: string): string {
  return JSON.stringify([tenant, deviceId]);
}
