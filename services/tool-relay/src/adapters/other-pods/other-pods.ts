import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { RelayService } from '@zerolatency/proto/relay';
import { ClientSessions, fromConnectError } from '@zerolatency/service/rpc';
import { clientTlsOptions, type TlsMaterial } from '@zerolatency/service/tls';
import { LRUCache } from 'lru-cache';
import { type Description, MAX_CATALOG_BYTES, type OtherPods } from '../../directory/catalogs.ts';

interface Pod {
  readonly material: TlsMaterial;
  readonly connections: ClientSessions;
  readonly client: Client<typeof RelayService>;
}

/** A list waits for its slowest pod. */
const TIMEOUT_MS = 1000;
/** More than a pool has; a directory that lies cannot make us keep more connections. */
const MAX_PODS = 256;
/** One catalog more than fits, and the fields around them. */
const MAX_ANSWER_BYTES = 2 * MAX_CATALOG_BYTES;

/** Asks other pods over mutual TLS. Whatever the directory names must have a certificate for its name. */
export class RpcPods implements OtherPods {
  readonly #tls: { current(): TlsMaterial };
  readonly #pods = new LRUCache<string, Pod>({
    max: MAX_PODS,
    dispose: ({ connections }) => connections.abort(),
  });

  constructor(tls: { current(): TlsMaterial }) {
    this.#tls = tls;
  }

  async describe(
    rpcUrl: string,
    devices: { readonly tenant: string; readonly deviceIds: readonly string[] },
  ): Promise<Description> {
    const { tenant, deviceIds } = devices;
    try {
      const { client } = this.#pod(rpcUrl);
      return await client.describeDevices(
        { tenant, deviceIds: [...deviceIds] },
        { timeoutMs: TIMEOUT_MS },
      );
    } catch (reason) {
      throw fromConnectError(reason);
    }
  }

  close(): void {
    this.#pods.clear();
  }

  #pod(url: string): Pod {
    const material = this.#tls.current();
    const known = this.#pods.get(url);
    if (known?.material === material) return known;
    const connections = new ClientSessions(url, clientTlsOptions(material));
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: '2',
      sessionManager: connections,
      readMaxBytes: MAX_ANSWER_BYTES,
    });
    const pod = { material, connections, client: createClient(RelayService, transport) };
    this.#pods.set(url, pod);
    return pod;
  }
}
