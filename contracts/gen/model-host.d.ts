// Generated from contracts/config/model-host.schema.json by `make generate`.

export interface HostSettings {
  /**
   * gRPC and Connect for clients.
   */
  readonly rpc: {
    readonly host: string;
    readonly port: number;
    /**
     * HTTP/2 without TLS. On loopback addresses only.
     */
    readonly cleartext: boolean;
    readonly tls?: TlsFiles;
    readonly connections: Connections;
  };
  /**
   * Probes, metrics and the component report, over plain HTTP.
   */
  readonly admin: {
    readonly host: string;
    readonly port: number;
    /**
     * A page for people at /, read-only and for clients on this machine: devices and what policy says of their tools, and the latest turns.
     */
    readonly console: boolean;
  };
  /**
   * How access tokens of users are verified.
   */
  readonly identity: {
    /**
     * JSON Web Key Set of the token issuer.
     */
    readonly jwksFile: string;
    readonly issuer: string;
    readonly audience: string;
  };
  /**
   * Guardrails of one turn; clients can only narrow them.
   */
  readonly turn: {
    readonly maxSteps: number;
    readonly maxToolDepth: number;
    readonly timeout: string;
    readonly maxInputTokens: number;
    readonly maxOutputTokens: number;
    readonly maxCallsPerStep: number;
    /**
     * The most a model sees of one tool result; the client receives all of it.
     */
    readonly maxToolResult: string;
  };
  /**
   * Turns that run, and chat streams that are open, at once in this pod.
   */
  readonly limits: {
    readonly turnsPerPod: number;
    readonly turnsPerTenant: number;
    readonly turnsPerUser: number;
    readonly streamsPerPod: number;
    readonly streamsPerTenant: number;
    readonly streamsPerUser: number;
  };
  readonly models: {
    /**
     * Alias for turns that name none.
     */
    readonly default: string;
    readonly aliases: {
      readonly [k: string]: Model;
    };
  };
  readonly providers: {
    readonly mock: {
      /**
       * Empty: the script that comes with the host.
       */
      readonly scriptFile: string;
    };
  };
  /**
   * The relays that lead to devices. Without urls, chats have no device tools.
   */
  readonly relay: {
    /**
     * RPC addresses of relay pods, as https://relay-1.example:8445; or a name that resolves to many, such as a headless service, as dns:///relays.example:8445, which dns://10.0.0.10:53/relays.example:8445 asks of one DNS server. Certificates are checked for the name.
     */
    readonly urls: readonly string[];
    readonly tls?: TlsFiles;
    /**
     * JSON Web Key Set of the enrolment authority.
     */
    readonly deviceKeysFile: string;
    readonly revocations?: Revocations;
  };
  /**
   * The host's own upper bounds for a call; policy narrows them.
   */
  readonly tools: {
    /**
     * Empty: the contracts that come with the host.
     */
    readonly contractsDir: string;
    readonly timeout: string;
    readonly maxResult: string;
    readonly callsPerTurn: number;
  };
  /**
   * Without a bundle tools are denied and chats go on.
   */
  readonly policy: {
    readonly bundleFile: string;
    /**
     * Public keys (*.pem) that bundles are signed with: Ed25519 or P-256, SPKI PEM.
     */
    readonly keysDir: string;
    /**
     * Remembers the highest version seen, so that an old bundle is refused.
     */
    readonly stateFile: string;
  };
  readonly ledger: {
    readonly dir: string;
    /**
     * Names this ledger in its checkpoints.
     */
    readonly origin: string;
    /**
     * Remembers the newest checkpoint, so that a ledger that was cut, replaced or removed is refused. Outside dir; empty: nothing is remembered.
     */
    readonly stateFile: string;
    /**
     * Private key that signs receipts and checkpoints: Ed25519, because checkpoints allow no other, PKCS #8 PEM.
     */
    readonly key:
      | {
          readonly file: string;
        }
      | {
          readonly env: string;
        };
    /**
     * Keeps checkpoints where whoever can rewrite the ledger does not reach them.
     */
    readonly export: {
      /**
       * A folder that exists, which receives one file for each size, or an https:// URL, which receives each note as the body of a POST; empty: nothing is exported.
       */
      readonly to: string;
      /**
       * Only when there are new records. A target that is away is tried more often.
       */
      readonly every: string;
      /**
       * PEM of the authority of the URL's certificate; empty: those of the system.
       */
      readonly caFile: string;
    };
  };
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  };
  /**
   * What errors tell clients.
   */
  readonly errors?: {
    /**
     * Where clients can read docs/errors.md. The docs of an error are this address with its anchor; without one, that path.
     */
    readonly catalogueUrl?: string;
  };
  readonly drain: {
    /**
     * Running turns are cancelled after this.
     */
    readonly deadline: string;
  };
}
/**
 * PEM files, read again when they change.
 */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}
/**
 * What the listener holds for clients, before and after it knows who they are.
 */
export interface Connections {
  /**
   * Less when the limit on open files is lower; a log line at the start says so.
   */
  readonly max: number;
  /**
   * From one IPv4 address or IPv6 /64. Behind a proxy all clients share its address.
   */
  readonly perAddress: number;
  /**
   * New connections per second from one IPv4 address or IPv6 /64; bursts of ten times as many.
   */
  readonly connectsPerAddress: number;
  /**
   * Connections whose client has not been authenticated. Beyond that the oldest is closed.
   */
  readonly maxUnproved: number;
  /**
   * Streams on one connection that show no access token or need none: health and reflection.
   */
  readonly maxUnprovedStreams: number;
  /**
   * For TLS and the first request, and how long a connection may be idle until a client is authenticated on it.
   */
  readonly handshake: string;
  /**
   * A connection without an open stream is closed after this.
   */
  readonly idle: string;
  /**
   * A stream is closed when its client takes nothing of a response for this long.
   */
  readonly stalled: string;
}
export interface Model {
  readonly provider: string;
  /**
   * As the provider names it.
   */
  readonly model: string;
}
/**
 * The signed list of revoked devices. Without these files no device is ever revoked here; with them and without a valid list no device is admitted.
 */
export interface Revocations {
  /**
   * The list, a DSSE envelope, read again when it changes.
   */
  readonly file: string;
  /**
   * Directory of *.pem public keys that may sign it, watched too.
   */
  readonly keysDir: string;
  /**
   * Remembers the newest list ever accepted, so that a restart accepts no older one.
   */
  readonly stateFile: string;
  /**
   * RPC address of the registrar, such as https://registrar.example:8445. Its lists are followed and kept in the file, and a relay passes on to it what devices ask to renew. Without it an operator puts each list into the file.
   */
  readonly registrarUrl?: string;
}
