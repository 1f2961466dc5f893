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
  };
  /**
   * Probes, metrics and the component report, over plain HTTP.
   */
  readonly admin: {
    readonly host: string;
    readonly port: number;
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
   * Turns that run at once in this pod.
   */
  readonly limits: {
    readonly turnsPerPod: number;
    readonly turnsPerTenant: number;
    readonly turnsPerUser: number;
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
    readonly urls: readonly string[];
    readonly tls?: TlsFiles;
    /**
     * JSON Web Key Set of the enrolment authority.
     */
    readonly deviceKeysFile: string;
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
     * Private key that signs receipts and checkpoints: Ed25519, because checkpoints allow no other, PKCS #8 PEM.
     */
    readonly key:
      | {
          readonly file: string;
        }
      | {
          readonly env: string;
        };
  };
  readonly log: {
    readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
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
export interface Model {
  readonly provider: string;
  /**
   * As the provider names it.
   */
  readonly model: string;
}
