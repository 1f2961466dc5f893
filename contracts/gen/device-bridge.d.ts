// Generated from contracts/config/device-bridge.schema.json by `make generate`.

export interface BridgeSettings {
  /**
   * Directory for the journal, control sockets and other state that survives a restart. One bridge per directory.
   */
  readonly stateDir: string;
  readonly relay: {
    /**
     * Device endpoints of relays, such as wss://relay.example:8444/v1/device; tried in turn.
     */
    readonly urls: readonly string[];
    /**
     * PEM file of the authorities whose relays are trusted; read again when it changes.
     */
    readonly caFile: string;
    /**
     * HTTP proxy that tunnels all connections to relays (CONNECT). Without it HTTPS_PROXY and NO_PROXY of the environment count, except for this machine itself.
     */
    readonly proxy?: {
      /**
       * Address of the proxy, such as http://proxy.example:3128.
       */
      readonly url: string;
      /**
       * File that holds user:password for basic authentication; read for each attempt.
       */
      readonly credentialsFile?: string;
    };
    /**
     * How often a device that had to fall back to an HTTP stream tries a WebSocket again.
     */
    readonly retryWebSocket: string;
    /**
     * Timeout for the socket to open, and again for the relay's welcome.
     */
    readonly handshake: string;
    readonly minBackoff: string;
    readonly maxBackoff: string;
    /**
     * Bytes queued for a slow relay before the connection is dropped.
     */
    readonly maxBuffered: string;
  };
  readonly device: {
    /**
     * Credential of the device, a JWS of the enrolment authority; read again when it changes.
     */
    readonly credentialFile: string;
    /**
     * Private key of the device, Ed25519 or P-256, PKCS #8 PEM.
     */
    readonly keyFile: string;
  };
  readonly policy: {
    /**
     * Signed policy bundle; read again when it changes.
     */
    readonly bundleFile: string;
    /**
     * Public keys (*.pem) that bundles are signed with: Ed25519 or P-256, SPKI PEM.
     */
    readonly keysDir: string;
    /**
     * How rules that restrict paths treat files with hard links. refuse: the file is denied, because another of its names may be in a denied folder. allow: only the opened name decides.
     */
    readonly hardLinks: 'refuse' | 'allow';
  };
  readonly servers: {
    /**
     * Signed manifest of the MCP servers that may be started; read again when it changes.
     */
    readonly manifestFile: string;
    /**
     * Public keys (*.pem) that manifests are signed with, as in policy.keysDir; read again when one changes.
     */
    readonly keysDir: string;
    readonly minBackoff: string;
    readonly maxBackoff: string;
  };
  /**
   * The device keeps checkpoints of hosts' ledgers, so that a rewritten ledger is detected.
   */
  readonly witness?: {
    /**
     * Public keys (*.pem) of the hosts whose ledgers are witnessed: Ed25519, SPKI PEM; read for each checkpoint.
     */
    readonly hostKeysDir: string;
  };
  readonly calls: {
    readonly maxRunning: number;
    /**
     * Calls that the journal holds at one time.
     */
    readonly maxEntries: number;
    /**
     * Bytes kept for callers: results until they are acknowledged, outcomes and receipts until they are forgotten. At the limit the bridge accepts no new calls.
     */
    readonly maxHeld: string;
    readonly maxResult: string;
  };
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  };
  readonly drain: {
    /**
     * How long running calls may continue after the bridge receives a stop signal.
     */
    readonly deadline: string;
  };
}
