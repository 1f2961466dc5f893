import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { RegistrarService } from '@zerolatency/proto/registrar';
import { Backoff } from '@zerolatency/service/backoff';
import { ClientSessions, fromConnectError } from '@zerolatency/service/rpc';
import { clientTlsOptions, type TlsMaterial } from '@zerolatency/service/tls';

export interface RegistrarAddress {
  readonly url: string;
  /** The client certificate. */
  readonly tls: { current(): TlsMaterial };
}

/** Three of the registrar's heartbeats. */
const SILENCE_MS = 15_000;
const RETRY = { minMs: 250, maxMs: 10_000 };
/** An envelope of the largest size, and what is around it. */
const READ_MAX_BYTES = 5 * 1024 * 1024;

/** The registrar, as relays and hosts reach it. */
export class RegistrarClient {
  readonly #address: RegistrarAddress;
  #material: TlsMaterial | undefined;
  #sessions: ClientSessions | undefined;
  #client: Client<typeof RegistrarService> | undefined;

  constructor(address: RegistrarAddress) {
    this.#address = address;
  }

  /** Renewed with the certificate; what runs on the connection before it is asked again. */
  get rpc(): Client<typeof RegistrarService> {
    const { url, tls } = this.#address;
    const material = tls.current();
    if (this.#client !== undefined && this.#material === material) return this.#client;
    this.close();
    const sessionManager = new ClientSessions(url, clientTlsOptions(material));
    const transport = createConnectTransport({
      ...{ baseUrl: url, httpVersion: '2', sessionManager },
      readMaxBytes: READ_MAX_BYTES,
    });
    this.#material = material;
    this.#sessions = sessionManager;
    this.#client = createClient(RegistrarService, transport);
    return this.#client;
  }

  close(): void {
    this.#sessions?.abort();
    this.#client = undefined;
  }
}

export interface FollowOptions {
  readonly client: RegistrarClient;
  /** The version in force here. */
  readonly version: () => number;
  /** Takes a list; an empty one says that the registrar has no other. Returns false when it is refused. */
  readonly accept: (envelope: string) => Promise<boolean>;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

export interface Following {
  /** How long the registrar has said nothing. */
  silentMs(): number;
  close(): void;
}

/** Follows the registrar's lists until it is closed, through every loss of the connection. */
export function followLists({ client, version, accept, log }: FollowOptions): Following {
  const closed = new AbortController();
  const backoff = new Backoff(RETRY);
  let heardAtMs = performance.now();
  let isLost = false;
  const heard = () => {
    heardAtMs = performance.now();
    backoff.reset();
    if (isLost) log.info({}, 'the registrar sends revocations again');
    isLost = false;
  };
  const lost = (reason: unknown) => {
    const { id: errorId, message, help } = fromConnectError(reason);
    const why = 'the registrar sends no revocations; the list in force stays';
    if (!isLost) log.warn({ errorId, help }, `${why}: ${message}`);
    isLost = true;
  };
  const follow = async () => {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const signal = AbortSignal.any([closed.signal, silence.signal]);
    try {
      const known = BigInt(version());
      // Offered again at each heartbeat, since time or a key can make it good.
      let refused = '';
      for await (const { envelope } of client.rpc.watchRevocations(
        { version: known },
        { signal },
      )) {
        timer.refresh();
        heard();
        refused = envelope || refused;
        if (await accept(refused)) refused = '';
      }
      throw new ZlError('registrar.unreachable', 'it ended the stream');
    } finally {
      clearTimeout(timer);
    }
  };
  const run = async () => {
    while (!closed.signal.aborted) {
      await follow().catch((reason: unknown) => {
        if (!closed.signal.aborted) lost(reason);
      });
      await sleep(backoff.nextMs(), undefined, { signal: closed.signal, ref: false }).catch(
        () => {},
      );
    }
  };
  void run();
  return {
    silentMs: () => performance.now() - heardAtMs,
    close: () => closed.abort(),
  };
}
