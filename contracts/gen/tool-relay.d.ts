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
   * Names this pod. Devices and hosts sign it, so it must be unique; the host name when empty.
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
     * auto: ws. uws is faster and does not hold against hostile devices (ADR 4).
     */
    readonly engine: 'auto' | 'uws' | 'ws';
    /**
     * How the balancers of trustedProxies say for whom they connect. v2: by a header of the PROXY protocol before TLS, which needs the engine ws; other addresses are refused. forwarded-for: by X-Forwarded-For, which is ignored from other addresses.
     */
    readonly proxyProtocol: 'none' | 'v2' | 'forwarded-for';
    /**
     * Addresses and networks of load balancers, such as 10.0.0.0/8. Limits by address go by the peers behind them.
     */
    readonly trustedProxies: readonly string[];
    readonly maxFrame: string;
    /**
     * A socket silent for twice as long is dead.
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
     * Names in client certificates: hosts, and the other pods. A registrar goes by registrar.operators instead.
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
     * Required issuer of credentials; empty accepts any that a key of the set signed. A registrar needs it, and issues by this name.
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
     * A key of HashiCorp Vault or OpenBao (transit engine, ed25519 or ecdsa-p256) that signs device credentials and never leaves it. The version that is the latest at the start is used; its public half must be in enrolment.jwksFile.
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
       * None when empty.
       */
      readonly namespace: string;
      /**
       * A token that may read the key and sign with it, read for each request, so that an agent can renew it.
       */
      readonly tokenFile: string;
      /**
       * PEM file of the authorities that vouch for it; those of Node when absent.
       */
      readonly caFile?: string;
      readonly timeout: string;
    };
    /**
     * For how long a device may connect with one credential. A revocation is dropped from the list after as long, so before you make it shorter, change the key of the authority if any revoked device may hold a longer one.
     */
    readonly credentialLifetime: string;
    /**
     * Where the hashes of one-time codes are until they are used or expire.
     */
    readonly codes: {
      /**
       * memory forgets them when the registrar restarts.
       */
      readonly engine: 'memory' | 'redis';
      readonly redis: Redis;
    };
    /**
     * Folder that gets the public key of each enrolled device (*.pem), for whoever verifies receipts. None is kept when empty.
     */
    readonly receiptKeysDir: string;
    /**
     * Names in client certificates that may make codes and revoke devices.
     */
    readonly operators: readonly string[];
    /**
     * Names in client certificates that may renew credentials of devices. They may follow the revocation list, as those of rpc.allowedClients may.
     */
    readonly relays: readonly string[];
    /**
     * The list of revoked devices that this registrar keeps. Without it no device can be revoked, and no credential is renewed.
     */
    readonly revocations?: {
      /**
       * The signed list, made when it is missing. Back it up: relays and hosts refuse a list that begins anew. The copy of any of them can replace it.
       */
      readonly file: string;
      /**
       * Private key that signs the list: PKCS #8 PEM of mode 0600, Ed25519 or P-256. Its public half belongs into revocations.keysDir of relays and hosts.
       */
      readonly keyFile: string;
    };
    /**
     * Where devices enrol: TLS without client certificates. It may be reachable from anywhere.
     */
    readonly enrol: {
      readonly host: string;
      readonly port: number;
      /**
       * The https:// origin at which devices reach it, which their proofs name; https://localhost:<port> when empty.
       */
      readonly advertisedUrl: string;
      /**
       * How the balancers of trustedProxies say for whom they connect. v2: by a header of the PROXY protocol before TLS; other addresses are refused. forwarded-for: by X-Forwarded-For, which is ignored from other addresses; the devices behind a balancer share its connections and their limits.
       */
      readonly proxyProtocol: 'none' | 'v2' | 'forwarded-for';
      /**
       * Addresses and networks of load balancers, such as 10.0.0.0/8. Limits by address go by the peers behind them.
       */
      readonly trustedProxies: readonly string[];
      readonly connections: Connections1;
    };
    /**
     * What an enrolled device gets beside its credential. The files are read at each enrolment.
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
   * What this pod holds for devices, and what one device may do.
   */
  readonly devices: {
    /**
     * Open sockets of devices, each of about 60 KiB.
     */
    readonly max: number;
    /**
     * Connections that have not proved who they are; beyond it the oldest is closed. At most a quarter of the connections that the descriptor limit allows.
     */
    readonly maxUnproved: number;
    /**
     * From the accepted connection to the proof.
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
     * A device that sends more, or more bytes, is read more slowly; one that never stops is disconnected after a minute. The engine uws disconnects it at once.
     */
    readonly framesPerSecond: number;
    readonly bytesPerSecond: string;
  };
  /**
   * What the devices of one tenant may do together.
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
     * Of tenants whose share is larger, by name. While devices of several tenants send, a tenant has its weight of what the pod passes on, and what it sends beyond that waits.
     */
    readonly weights: {
      readonly [k: string]: number;
    };
  };
  /**
   * What this pod holds for hosts.
   */
  readonly links: {
    /**
     * Names in the certificates that host tokens are signed with.
     */
    readonly allowedHosts: readonly string[];
    readonly max: number;
    /**
     * Devices one link may hold open.
     */
    readonly maxHandles: number;
    readonly maxCalls: number;
    /**
     * Bytes queued for a slow host before its link is closed. A device may fill half of what is free.
     */
    readonly maxQueue: string;
    /**
     * Frames one host may send; a hundred of a second may be pings and pongs.
     */
    readonly framesPerSecond: number;
    readonly bytesPerSecond: string;
  };
  readonly lease: {
    readonly ttl: string;
  };
  /**
   * Where the leases are: which pod holds which device.
   */
  readonly directory: {
    /**
     * memory serves a single pod; the pods of a pool share a Redis.
     */
    readonly engine: 'memory' | 'redis';
    readonly redis: Redis1;
  };
  /**
   * Which pods of a pool serve a tenant. All pods have the same settings.
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
     * How long a pod must be there, or gone, before devices move because of it.
     */
    readonly settle: string;
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
     * How long devices and hosts have to move to another pod.
     */
    readonly closeAfter: string;
    /**
     * As many are told to move, those without a call first. More only where drain.deadline leaves too little time.
     */
    readonly devicesPerSecond: number;
    /**
     * Open connections are cut after this.
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
export interface Redis {
  /**
   * What the nodes are: one server, the Sentinels that know it, or some nodes of a Cluster.
   */
  readonly mode: 'single' | 'sentinel' | 'cluster';
  /**
   * host:port of each.
   */
  readonly nodes: readonly string[];
  /**
   * The name under which the Sentinels know the server.
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
   * A command that is not answered within this time has failed, and the pod goes on without Redis.
   */
  readonly commandTimeout: string;
}
/**
 * What the listener holds for clients, before and after it knows who they are.
 */
export interface Connections1 {
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
/**
 * A policy bundle or server manifest, and the public keys (*.pem) that sign it.
 */
export interface SignedFile {
  readonly file: string;
  readonly keysDir: string;
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
export interface Redis1 {
  /**
   * What the nodes are: one server, the Sentinels that know it, or some nodes of a Cluster.
   */
  readonly mode: 'single' | 'sentinel' | 'cluster';
  /**
   * host:port of each.
   */
  readonly nodes: readonly string[];
  /**
   * The name under which the Sentinels know the server.
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
   * A command that is not answered within this time has failed, and the pod goes on without Redis.
   */
  readonly commandTimeout: string;
}
