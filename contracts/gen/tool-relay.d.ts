// Generated from contracts/config/tool-relay.schema.json by `make generate`.

export type Secret =
  | {
      readonly file: string;
    }
  | {
      readonly env: string;
    };

export interface RelaySettings {
  /**
   * relay: serves devices and hosts. registrar: enrols devices, and only reads tls, rpc.host, rpc.port, rpc.connections, admin, enrolment, registrar, log, errors and drain.
   */
  readonly role: 'relay' | 'registrar';
  /**
   * Name of this pod. Devices and hosts sign it, so it must be unique. Empty: the host name.
   */
  readonly relayId: string;
  readonly tls: TlsFiles;
  /**
   * WebSockets of devices (/v1/device) and hosts (/v1/link), and HTTP streams of devices (/v1/device/down and /up) whose network blocks WebSockets; these need the engine ws.
   */
  readonly sockets: {
    readonly host: string;
    readonly port: number;
    /**
     * URL at which hosts reach this pod; wss://localhost:<port> when empty.
     */
    readonly advertisedUrl: string;
    /**
     * URL at which devices reach this pod and no other, to which other pods redirect the devices of its shard; empty behind a balancer that hides the pods.
     */
    readonly deviceUrl: string;
    /**
     * auto selects ws. uws is faster, and does not withstand hostile devices (ADR 4).
     */
    readonly engine: 'auto' | 'uws' | 'ws';
    /**
     * How the balancers in trustedProxies state client addresses. v2: a PROXY protocol header before TLS; requires the engine ws, and connections from other addresses are refused. forwarded-for: X-Forwarded-For, which is ignored from other addresses.
     */
    readonly proxyProtocol: 'none' | 'v2' | 'forwarded-for';
    /**
     * Addresses and networks of load balancers, such as 10.0.0.0/8. Limits by address apply to the peers behind them.
     */
    readonly trustedProxies: readonly string[];
    readonly maxFrame: string;
    /**
     * A socket that is silent for twice this time is closed.
     */
    readonly heartbeat: string;
  };
  /**
   * gRPC and Connect over mutual TLS.
   */
  readonly rpc: {
    readonly host: string;
    readonly port: number;
    /**
     * URL at which the other pods reach this one; https://localhost:<port> when empty.
     */
    readonly advertisedUrl: string;
    /**
     * Names in client certificates of hosts and of the other pods. A registrar uses registrar.operators instead.
     */
    readonly allowedClients: readonly string[];
    readonly connections: Connections;
  };
  /**
   * Probes, metrics and the component report, over plain HTTP.
   */
  readonly admin: {
    readonly host: string;
    readonly port: number;
  };
  /**
   * How device credentials are verified.
   */
  readonly enrolment: {
    /**
     * JSON Web Key Set of the enrolment authority, read again when it changes.
     */
    readonly jwksFile: string;
    /**
     * Required issuer of credentials. Empty: any issuer whose key is in the set. A registrar requires it and issues under this name.
     */
    readonly issuer: string;
  };
  /**
   * For the role registrar only: a relay refuses it, because it serves devices and must not hold the issuing key.
   */
  readonly registrar?: {
    /**
     * Private key that signs device credentials: PKCS #8 PEM of mode 0600. Its public half must be in enrolment.jwksFile. Either this or issuerVault.
     */
    readonly issuerKeyFile?: string;
    /**
     * A key of HashiCorp Vault or OpenBao (transit engine, ed25519 or ecdsa-p256) that signs device credentials and never leaves it. The version that is the latest at start is used; its public half must be in enrolment.jwksFile.
     */
    readonly issuerVault?: {
      readonly url: string;
      /**
       * Where the transit engine is mounted.
       */
      readonly mount: string;
      /**
       * Name of the key.
       */
      readonly key: string;
      /**
       * Empty: no namespace.
       */
      readonly namespace: string;
      /**
       * File of a token that may read the key and sign with it; read for each request, so that an agent can renew it.
       */
      readonly tokenFile: string;
      /**
       * PEM file of its authorities; absent: Node's.
       */
      readonly caFile?: string;
      readonly timeout: string;
    };
    /**
     * Lifetime of a credential. A revocation is dropped from the list after the same time. Before you shorten it, replace the authority's key if a revoked device may hold a longer credential.
     */
    readonly credentialLifetime: string;
    /**
     * Storage for the hashes of one-time codes until they are used or expire.
     */
    readonly codes: {
      /**
       * With memory, a restart of the registrar loses the codes.
       */
      readonly engine: 'memory' | 'redis';
      readonly redis: Redis;
    };
    /**
     * Folder for the public key of each enrolled device (*.pem), for verifiers of receipts. Empty: not stored.
     */
    readonly receiptKeysDir: string;
    /**
     * Names in client certificates that may create codes and revoke devices.
     */
    readonly operators: readonly string[];
    /**
     * Names in client certificates that may renew credentials of devices. They and rpc.allowedClients may follow the revocation list.
     */
    readonly relays: readonly string[];
    /**
     * The list of revoked devices that this registrar keeps. Without it no device can be revoked, and no credential is renewed.
     */
    readonly revocations?: {
      /**
       * The signed list; created if missing. Back it up: relays and hosts refuse a list that starts again. A copy from any of them can replace it.
       */
      readonly file: string;
      /**
       * Private key that signs the list: PKCS #8 PEM of mode 0600, Ed25519 or P-256. Its public half must be in revocations.keysDir of relays and hosts.
       */
      readonly keyFile: string;
    };
    /**
     * The listener where devices enrol: TLS without client certificates. It may be reachable from anywhere.
     */
    readonly enrol: {
      readonly host: string;
      readonly port: number;
      /**
       * The https:// origin at which devices reach it; their proofs contain it. Empty: https://localhost:<port>.
       */
      readonly advertisedUrl: string;
      /**
       * How the balancers of trustedProxies say for whom they connect. v2: by a header of the PROXY protocol before TLS; other addresses are refused. forwarded-for: by X-Forwarded-For, which is ignored from other addresses; the devices behind a balancer share its connections and their limits.
       */
      readonly proxyProtocol: 'none' | 'v2' | 'forwarded-for';
      /**
       * Addresses and networks of load balancers, such as 10.0.0.0/8. Limits by address apply to the peers behind them.
       */
      readonly trustedProxies: readonly string[];
      readonly connections: Connections1;
    };
    /**
     * What an enrolled device receives besides its credential. The files are read at each enrolment.
     */
    readonly devices: {
      /**
       * Device endpoints of relays, such as wss://relay.example:8444/v1/device.
       */
      readonly relayUrls: readonly string[];
      /**
       * PEM file of the authorities whose relays devices trust.
       */
      readonly relayCaFile: string;
      readonly policy: SignedFile;
      readonly manifest: SignedFile;
    };
  };
  readonly revocations?: Revocations;
  /**
   * Limits of this pod for devices, and of one device.
   */
  readonly devices: {
    /**
     * Open sockets of devices, each of about 60 KiB.
     */
    readonly max: number;
    /**
     * Unauthenticated connections; beyond this number the oldest is closed. At most a quarter of the connections that the descriptor limit allows.
     */
    readonly maxUnproved: number;
    /**
     * Timeout from the accepted connection to the proof.
     */
    readonly handshake: string;
    /**
     * New connections per second from one IPv4 address or IPv6 /64; bursts of ten times as many. Behind a balancer, set sockets.proxyProtocol: otherwise all devices share its address.
     */
    readonly connectsPerAddress: number;
    readonly maxCatalog: string;
    readonly maxServers: number;
    readonly maxTools: number;
    readonly maxCalls: number;
    /**
     * Bytes queued for a slow device before it is disconnected.
     */
    readonly maxQueue: string;
    /**
     * A device that exceeds this or bytesPerSecond is throttled, and disconnected if it stays over for a minute. The engine uws disconnects it at once.
     */
    readonly framesPerSecond: number;
    readonly bytesPerSecond: string;
  };
  /**
   * Limits of all devices of one tenant together.
   */
  readonly tenants: {
    readonly maxDevices: number;
    readonly maxCalls: number;
    /**
     * Devices of a tenant that sends more, or more bytes, are read in turns. The engine uws disconnects the one that exceeds it.
     */
    readonly framesPerSecond: number;
    readonly bytesPerSecond: string;
    /**
     * The share of each named tenant; 1 for all others. While devices of several tenants send, the pod forwards their frames in proportion to these weights, and what a tenant sends beyond its share waits.
     */
    readonly weights: {
      readonly [k: string]: number;
    };
  };
  /**
   * Limits of this pod for hosts.
   */
  readonly links: {
    /**
     * Names in the certificates that host tokens are signed with.
     */
    readonly allowedHosts: readonly string[];
    readonly max: number;
    /**
     * Devices that one link may have open.
     */
    readonly maxHandles: number;
    readonly maxCalls: number;
    /**
     * Bytes queued for a slow host before its link is closed. A device may fill half of what is free.
     */
    readonly maxQueue: string;
    /**
     * Frames that one host may send; at most 100 a second may be pings and pongs.
     */
    readonly framesPerSecond: number;
    readonly bytesPerSecond: string;
  };
  readonly lease: {
    readonly ttl: string;
  };
  /**
   * Storage of the leases: which pod owns which device.
   */
  readonly directory: {
    /**
     * memory: for a single pod. redis: shared by the pods of a pool.
     */
    readonly engine: 'memory' | 'redis';
    readonly redis: Redis1;
  };
  /**
   * Assignment of tenants to pods of a pool. All pods must have the same settings.
   */
  readonly sharding: {
    /**
     * Pods that serve the devices of one tenant. 0: any pod serves any device. Needs directory.engine redis.
     */
    readonly width: number;
    /**
     * Live devices that move to one pod when it joins, from all others together. One costs 2.4 ms of a core to take in (docs/scale.md), so the default takes a quarter of one.
     */
    readonly movesPerSecond: number;
    /**
     * How long a pod must be present or absent before devices move because of it.
     */
    readonly settle: string;
  };
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  };
  /**
   * Error details for clients.
   */
  readonly errors?: {
    /**
     * URL of docs/errors.md for clients. The docs field of an error is this URL with the error's anchor; empty: the path docs/errors.md.
     */
    readonly catalogueUrl?: string;
  };
  readonly drain: {
    /**
     * Minimum time that devices and hosts have to move to another pod.
     */
    readonly closeAfter: string;
    /**
     * Rate at which devices are told to move, those without a call first. Exceeded only if drain.deadline leaves too little time.
     */
    readonly devicesPerSecond: number;
    /**
     * Open connections are closed after this time.
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
 * Limits of the listener, for clients before and after authentication.
 */
export interface Connections {
  /**
   * Reduced if the limit on open files is lower; a log line at start reports it.
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
   * Connections with an unauthenticated client. Beyond this number the oldest is closed.
   */
  readonly maxUnproved: number;
  /**
   * Timeout for TLS and the first request, and idle timeout until a client is authenticated on the connection.
   */
  readonly handshake: string;
  /**
   * A connection without an open stream is closed after this time.
   */
  readonly idle: string;
  /**
   * A stream is closed when its client reads nothing of a response for this long.
   */
  readonly stalled: string;
}
export interface Redis {
  /**
   * The kind of nodes: one server, Sentinels that monitor it, or nodes of a Cluster.
   */
  readonly mode: 'single' | 'sentinel' | 'cluster';
  /**
   * host:port of each.
   */
  readonly nodes: readonly string[];
  /**
   * Name of the server in the Sentinels.
   */
  readonly sentinelName: string;
  /**
   * ACL user; the default user when empty.
   */
  readonly username: string;
  readonly password?: Secret;
  readonly sentinelPassword?: Secret;
  /**
   * Connects over TLS and verifies the servers with this authority.
   */
  readonly tls?: {
    readonly caFile: string;
  };
  /**
   * A command without an answer in this time fails, and the pod continues without Redis.
   */
  readonly commandTimeout: string;
}
/**
 * Limits of the listener, for clients before and after authentication.
 */
export interface Connections1 {
  /**
   * Reduced if the limit on open files is lower; a log line at start reports it.
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
   * Connections with an unauthenticated client. Beyond this number the oldest is closed.
   */
  readonly maxUnproved: number;
  /**
   * Timeout for TLS and the first request, and idle timeout until a client is authenticated on the connection.
   */
  readonly handshake: string;
  /**
   * A connection without an open stream is closed after this time.
   */
  readonly idle: string;
  /**
   * A stream is closed when its client reads nothing of a response for this long.
   */
  readonly stalled: string;
}
/**
 * A policy bundle or server manifest, and the public keys (*.pem) that sign it.
 */
export interface SignedFile {
  readonly file: string;
  readonly keysDir: string;
}
/**
 * The signed list of revoked devices. If these files are not configured, no device is ever revoked here; if they are and there is no valid list, no device is admitted.
 */
export interface Revocations {
  /**
   * The list, a DSSE envelope; read again when it changes.
   */
  readonly file: string;
  /**
   * Public keys (*.pem) that lists are signed with; read again when one changes.
   */
  readonly keysDir: string;
  /**
   * Stores the newest version accepted, so that an older list is refused after a restart.
   */
  readonly stateFile: string;
  /**
   * RPC address of the registrar, such as https://registrar.example:8445. The program follows its lists and stores them in the file; a relay forwards renewal requests of devices to it. Without it, install each list in the file yourself.
   */
  readonly registrarUrl?: string;
}
export interface Redis1 {
  /**
   * The kind of nodes: one server, Sentinels that monitor it, or nodes of a Cluster.
   */
  readonly mode: 'single' | 'sentinel' | 'cluster';
  /**
   * host:port of each.
   */
  readonly nodes: readonly string[];
  /**
   * Name of the server in the Sentinels.
   */
  readonly sentinelName: string;
  /**
   * ACL user; the default user when empty.
   */
  readonly username: string;
  readonly password?: Secret;
  readonly sentinelPassword?: Secret;
  /**
   * Connects over TLS and verifies the servers with this authority.
   */
  readonly tls?: {
    readonly caFile: string;
  };
  /**
   * A command without an answer in this time fails, and the pod continues without Redis.
   */
  readonly commandTimeout: string;
}
