// Generated from contracts/config/model-host.schema.json by `make generate`.

export type Secret =
  | {
      readonly file: string;
    }
  | {
      readonly env: string;
    };

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
    /**
     * Web pages that may use the host from browsers.
     */
    readonly cors: {
      /**
       * Their origins, exactly as browsers send them: https://app.example.com.
       */
      readonly origins: readonly string[];
    };
  };
  /**
   * Probes, metrics and the component report, over plain HTTP.
   */
  readonly admin: {
    readonly host: string;
    readonly port: number;
    /**
     * Serves the console at /, a read-only page for clients on this machine: devices with the policy decision for each tool, and the latest turns.
     */
    readonly console: boolean;
  };
  /**
   * Verification of users' access tokens and client certificates. jwksFile, issuer and audience name one issuer; issuers any number.
   */
  readonly identity: {
    /**
     * JSON Web Key Set of the token issuer.
     */
    readonly jwksFile?: string;
    readonly issuer?: string;
    readonly audience?: string;
    /**
     * Token issuers by a name for logs and metrics. A token belongs to the issuer whose text its claim iss equals.
     */
    readonly issuers: {
      readonly [k: string]: Issuer;
    };
    /**
     * Key sets that are read from a URL.
     */
    readonly keySets: {
      /**
       * A key set is read again when its Cache-Control says so, but not sooner than this.
       */
      readonly minRefresh: string;
      /**
       * Longest interval between two reads, and so the time within which a withdrawn key ends the streams that it opened.
       */
      readonly maxRefresh: string;
      /**
       * For this long after it was last read a key set stays in force while its URL cannot be read. After that its tokens are refused and its streams end.
       */
      readonly maxAge: string;
    };
    /**
     * Networks, such as 10.0.0.0/8 or fd00::/8, in which key sets and discovery documents may be read although their addresses are not public.
     */
    readonly allowNetworks: readonly string[];
    /**
     * Clients without an access token that prove themselves with a certificate of rpc.tls.caFile. The first rule that fits an alternative name of the certificate counts. With rules, the host asks clients for a certificate.
     */
    readonly certificates: readonly CertificateRule[];
  };
  /**
   * Limits of one turn; clients can only lower them.
   */
  readonly turn: {
    readonly maxSteps: number;
    readonly maxToolDepth: number;
    readonly timeout: string;
    readonly maxInputTokens: number;
    readonly maxOutputTokens: number;
    /**
     * US dollars, by the price table. A turn whose model has no price is then refused. Absent: no limit.
     */
    readonly maxCost?: number;
    readonly maxCallsPerStep: number;
    /**
     * Maximum of one tool result that a model receives; the client receives all of it.
     */
    readonly maxToolResult: string;
  };
  /**
   * The events of turns, kept for clients that resume a turn after a lost connection.
   */
  readonly turnLog: {
    /**
     * How long after its end a turn can be resumed.
     */
    readonly window: string;
    /**
     * The newest events of one turn that are kept. A resume from before them begins with a gap.
     */
    readonly maxEvents: number;
    /**
     * Memory for the newest events of one turn.
     */
    readonly maxBytes: string;
    /**
     * Memory for the ended turns of one tenant in this pod; beyond it the oldest is dropped.
     */
    readonly maxBytesPerTenant: string;
    /**
     * Memory for all ended turns in this pod; beyond it the tenant that uses the most loses its oldest.
     */
    readonly maxBytesPerPod: string;
    /**
     * Secrets from which the keys are derived that encrypt events in Redis (AES-256-GCM), one key for each turn. The first one encrypts, all of them decrypt. Empty: events are in Redis as they are.
     */
    readonly sealing: readonly {
      /**
       * Stored with what the secret encrypts.
       */
      readonly id: string;
      /**
       * At least 32 bytes, random.
       */
      readonly secret:
        | {
            readonly file: string;
          }
        | {
            readonly env: string;
          };
    }[];
  };
  /**
   * Open turns and chat streams in this pod; and what tenants and users may use over all pods that share a Redis.
   */
  readonly limits: {
    readonly turnsPerPod: number;
    readonly turnsPerTenant: number;
    readonly turnsPerUser: number;
    readonly streamsPerPod: number;
    readonly streamsPerTenant: number;
    readonly streamsPerUser: number;
    /**
     * Limits of each tenant, by its name; default is for all others. What a named one leaves out is that of default; what neither sets is unlimited.
     */
    readonly tenants: {
      readonly [k: string]: Quota;
    };
    /**
     * Limits of each user of a tenant, by the name of the tenant; default is for the users of all others.
     */
    readonly users: {
      readonly [k: string]: Quota;
    };
    /**
     * Host pods of the pool. Without Redis, and while it is away, each pod grants an equal share of every limit of tenants and users, but at least one turn and one request at a time.
     */
    readonly pods: number;
    /**
     * Turns wait here for a slot while turnsPerPod are open; slots go round the tenants. Waiting turns count for turnsPerTenant and turnsPerUser.
     */
    readonly queue: {
      /**
       * Turns that may wait. 0: a turn without a slot is refused at once.
       */
      readonly turns: number;
      /**
       * A turn that waited as long is refused. A client's deadline may end it before.
       */
      readonly maxWait: string;
      /**
       * Slots of each named tenant for one of every other.
       */
      readonly weights: {
        readonly [k: string]: number;
      };
    };
    /**
     * If Redis takes longer to decide, the pod decides alone until Redis answers in time again.
     */
    readonly redisTimeout: string;
  };
  readonly redis?: Redis;
  /**
   * What must outlive the pod, for ledger.engine postgres. Connections go to the server itself or through a pooler in session mode.
   */
  readonly postgres?: {
    /**
     * postgres://<user>:<password>@<host>:<port>/<database>. The password is read again for each new connection.
     */
    readonly url:
      | {
          readonly file: string;
        }
      | {
          readonly env: string;
        };
    /**
     * Connects over TLS and verifies the server, by the host name of the URL, with this authority. Required unless the server is on this machine.
     */
    readonly tls?: {
      readonly caFile: string;
    };
    /**
     * Open at the same time, from this pod.
     */
    readonly connections: number;
    readonly connectTimeout: string;
    /**
     * For one statement, and for an append to learn whether it was committed after its connection broke.
     */
    readonly statementTimeout: string;
  };
  readonly models: {
    /**
     * Alias for turns that name no model.
     */
    readonly default: string;
    readonly aliases: {
      readonly [k: string]: Model;
    };
    /**
     * By tenant: aliases that it has beside those above, or in place of those with the same name.
     */
    readonly tenants: {
      readonly [k: string]: TenantModels;
    };
    /**
     * YAML with default, aliases and tenants, in place of those here. Read again when it changes: turns that run keep their targets, and a faulty file changes nothing.
     */
    readonly tableFile: string;
  };
  readonly providers: {
    /**
     * Requests that failed before anything of the reply had arrived are repeated when all targets of the alias have failed.
     */
    readonly retries: {
      /**
       * How often the targets are asked again. 0: never.
       */
      readonly rounds: number;
      /**
       * A turn fails at once when a provider asks for a longer wait.
       */
      readonly maxWait: string;
    };
    /**
     * A target that keeps failing is not asked for a while; then one request at a time probes it.
     */
    readonly breaker: {
      /**
       * Until the first probe; doubles with each probe that fails.
       */
      readonly openFor: string;
      readonly maxOpenFor: string;
    };
    readonly mock: {
      /**
       * Empty: the script shipped with the host.
       */
      readonly scriptFile: string;
    };
    /**
     * Providers by the names that models.aliases use.
     */
    readonly vendors: {
      readonly [k: string]: Vendor;
    };
    /**
     * Keys of tenants' own, JSON or YAML by contracts/config/tenant-keys.schema.json; read again when the file changes. Empty: all tenants use the keys in vendors.
     */
    readonly tenantKeysFile: string;
    /**
     * Prices of models, JSON or YAML by contracts/prices/prices.schema.json, that come before the shipped ones; read again when the file changes. Empty: the shipped prices only.
     */
    readonly pricesFile: string;
  };
  /**
   * Agents that models call as tools, by name: the tool of researcher is agent.researcher. The policy decides who may call it.
   */
  readonly agents: {
    readonly [k: string]: Agent;
  };
  /**
   * The relays of the devices. Without urls, chats have no device tools.
   */
  readonly relay: {
    /**
     * RPC addresses of relay pods, as https://relay-1.example:8445; or a name that resolves to many, such as a headless service, as dns:///relays.example:8445, or dns://10.0.0.10:53/relays.example:8445 to query a given DNS server. Certificates are verified for the name.
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
   * The host's upper bounds for a call; policy can lower them.
   */
  readonly tools: {
    /**
     * Empty: the contracts shipped with the host.
     */
    readonly contractsDir: string;
    readonly timeout: string;
    readonly maxResult: string;
    readonly callsPerTurn: number;
  };
  /**
   * Without a bundle, tools are denied and chats continue.
   */
  readonly policy: {
    readonly bundleFile: string;
    /**
     * Public keys (*.pem) that bundles are signed with: Ed25519 or P-256, SPKI PEM.
     */
    readonly keysDir: string;
    /**
     * Stores the highest version seen, so that an older bundle is refused.
     */
    readonly stateFile: string;
  };
  readonly ledger: {
    /**
     * files: in dir, by one host. postgres: in the database of postgres, for pods without a disk of their own.
     */
    readonly engine: 'files' | 'postgres';
    /**
     * For engine files, and required there.
     */
    readonly dir?: string;
    /**
     * Names this ledger in its checkpoints.
     */
    readonly origin: string;
    /**
     * Stores the newest checkpoint, so that a truncated, replaced or removed ledger is detected. Must be outside dir, for engine files only. Empty: not stored.
     */
    readonly stateFile: string;
    /**
     * Private key that signs receipts and checkpoints: PKCS #8 PEM, Ed25519 (required by the checkpoint format).
     */
    readonly key:
      | {
          readonly file: string;
        }
      | {
          readonly env: string;
        };
    /**
     * Copies checkpoints to a place that those who can rewrite the ledger cannot change.
     */
    readonly export: {
      /**
       * An existing folder, which receives one file per ledger size, or an https:// URL, which receives each note as the body of a POST. Empty: no export.
       */
      readonly to: string;
      /**
       * Interval while there are new records. An unavailable target is retried more often.
       */
      readonly every: string;
      /**
       * PEM file of the authority for the URL's certificate; empty: the system's authorities.
       */
      readonly caFile: string;
    };
  };
  /**
   * Stores that references to secrets may name.
   */
  readonly secrets?: {
    /**
     * HashiCorp Vault or OpenBao.
     */
    readonly vault?: {
      readonly url: string;
      /**
       * Empty: no namespace.
       */
      readonly namespace: string;
      /**
       * PEM file of its authorities; absent: Node's.
       */
      readonly caFile?: string;
      readonly timeout: string;
      /**
       * A secret is read again after this time, or after its lease if that is shorter, and when a provider refuses it.
       */
      readonly refresh: string;
      readonly auth:
        | {
            /**
             * File of a token, read for each request, so that an agent can renew it.
             */
            readonly tokenFile: string;
          }
        | {
            /**
             * Logs in with the token of the pod's service account.
             */
            readonly kubernetes: {
              readonly mount: string;
              readonly role: string;
              readonly jwtFile: string;
            };
          }
        | {
            readonly appRole: {
              readonly mount: string;
              readonly roleId: string;
              readonly secretIdFile: string;
            };
          };
    };
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
     * Running turns are cancelled after this time.
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
   * Streams on one connection without an access token, or for health and reflection, which need none.
   */
  readonly maxUnprovedStreams: number;
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
 * Exactly one of jwksFile, jwksUrl and discovery says where its keys are.
 */
export interface Issuer {
  /**
   * Compared with the claim iss character by character, a trailing slash included.
   */
  readonly issuer: string;
  /**
   * The claim aud names one of these.
   */
  readonly audience: readonly string[];
  readonly jwksFile?: string;
  readonly jwksUrl?: string;
  /**
   * Reads <issuer>/.well-known/openid-configuration, and the key set that it names.
   */
  readonly discovery: boolean;
  /**
   * PEM file of the authority for the URLs' certificates; empty: the system's authorities.
   */
  readonly caFile: string;
  /**
   * Accepted signatures; only asymmetric ones can be.
   */
  readonly algorithms: (
    | 'EdDSA'
    | 'Ed25519'
    | 'ES256'
    | 'ES384'
    | 'ES512'
    | 'RS256'
    | 'RS384'
    | 'RS512'
    | 'PS256'
    | 'PS384'
    | 'PS512'
  )[];
  /**
   * Tenant of all users of this issuer. Without it the issuer can name any tenant.
   */
  readonly tenant?: string;
  /**
   * Where its tokens say who the user is: the name of a claim, or a JSON Pointer such as /realm_access/roles.
   */
  readonly claims: {
    readonly tenant: string;
    readonly user: string;
    readonly roles: string;
  };
}
export interface CertificateRule {
  /**
   * URI or DNS name of the certificate, such as URI:spiffe://prod.example/{tenant}/bff/{user} or DNS:*.clients.example. * stands for a part without / (URI) or . (DNS); {tenant} and {user} as well, and take their values from it.
   */
  readonly name: string;
  /**
   * Unless name contains {tenant}.
   */
  readonly tenant?: string;
  /**
   * Unless name contains {user}. Absent: the name in the certificate.
   */
  readonly user?: string;
  readonly roles: readonly string[];
}
/**
 * What an owner may use over all pods.
 */
export interface Quota {
  readonly requests?: Rate;
  readonly inputTokens?: Rate1;
  readonly outputTokens?: Rate2;
  readonly toolCalls?: Rate3;
  readonly usd?: Rate4;
  /**
   * Open turns at once, those that wait for a slot included.
   */
  readonly turns?: number;
}
/**
 * Turns and tool calls that a client starts.
 */
export interface Rate {
  readonly amount: number;
  readonly per: string;
  /**
   * What may be used at once. Absent: the amount.
   */
  readonly burst?: number;
}
/**
 * Reserved by estimate before a model call, corrected after it.
 */
export interface Rate1 {
  readonly amount: number;
  readonly per: string;
  /**
   * What may be used at once. Absent: the amount.
   */
  readonly burst?: number;
}
/**
 * Reserved before a model call, as many as it may answer with; what it did not use is given back. A model call never gets more than the burst.
 */
export interface Rate2 {
  readonly amount: number;
  readonly per: string;
  /**
   * What may be used at once. Absent: the amount.
   */
  readonly burst?: number;
}
/**
 * Tool calls that models and clients ask for, once policy allows them.
 */
export interface Rate3 {
  readonly amount: number;
  readonly per: string;
  /**
   * What may be used at once. Absent: the amount.
   */
  readonly burst?: number;
}
/**
 * Cost of model calls by the price table. A model without a price costs nothing here.
 */
export interface Rate4 {
  readonly amount: number;
  readonly per: string;
  /**
   * What may be used at once. Absent: the amount.
   */
  readonly burst?: number;
}
/**
 * What the host pods of a pool share; the same for all of them. It holds nothing that must last: while it is away, each pod goes on by itself.
 */
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
 * An alias: one target, or targets in the order in which they are tried.
 */
export interface Model {
  readonly provider?: string;
  /**
   * As the provider names it.
   */
  readonly model?: string;
  /**
   * For models that refuse requests for as many as turn.maxOutputTokens.
   */
  readonly maxOutputTokens?: number;
  /**
   * What the model supports. Absent: everything.
   */
  readonly capabilities?: readonly ('tools' | 'images' | 'structuredOutput')[];
  /**
   * How the model calls tools: native, by the API of its provider; json, by a JSON object in its text, for models without native tool calls. With json the object is held to a schema by the provider if capabilities is absent or names structuredOutput.
   */
  readonly toolCalls?: 'native' | 'json';
  readonly critic?: Critic;
  /**
   * In place of provider and model. A request goes to the first one that supports what it needs, and to the next one when that fails.
   */
  readonly targets?: readonly Target[];
  /**
   * Of the targets; listed when absent. cheapest: by the price table, those without a price last.
   */
  readonly order?: 'listed' | 'cheapest';
}
/**
 * A model that judges each answer: accept it, have it written again once, or stop the turn. The turn pays for it.
 */
export interface Critic {
  /**
   * Model alias.
   */
  readonly model: string;
  /**
   * For an answer whose critic fails, or is not content with the second answer either.
   */
  readonly otherwise: 'accept' | 'stop';
}
/**
 * A model of a provider.
 */
export interface Target {
  readonly provider: string;
  /**
   * As the provider names it.
   */
  readonly model: string;
  /**
   * For models that refuse requests for as many as turn.maxOutputTokens.
   */
  readonly maxOutputTokens?: number;
  /**
   * What the model supports. Absent: everything.
   */
  readonly capabilities?: readonly ('tools' | 'images' | 'structuredOutput')[];
  /**
   * How the model calls tools: native, by the API of its provider; json, by a JSON object in its text, for models without native tool calls. With json the object is held to a schema by the provider if capabilities is absent or names structuredOutput.
   */
  readonly toolCalls?: 'native' | 'json';
}
export interface TenantModels {
  /**
   * Alias for the tenant's turns that name no model; models.default when absent.
   */
  readonly default?: string;
  readonly aliases: {
    readonly [k: string]: Model;
  };
}
/**
 * A provider that is asked over HTTP.
 */
export interface Vendor {
  /**
   * What it speaks: the API of a vendor, or the Chat Completions that vLLM, LM Studio, llama.cpp, Ollama and others offer. openai is OpenAI's Responses.
   */
  readonly type: 'anthropic' | 'openai' | 'openai-chat' | 'google' | 'openai-compatible';
  /**
   * Up to the version, such as http://127.0.0.1:11434/v1. Required for openai-compatible; the vendor's own for the others. Nothing else is asked, and no redirect followed.
   */
  readonly baseUrl?: string;
  /**
   * API key: one line of printable ASCII. A file or variable is read again for each request. Without a key none is sent; only openai-compatible may go without.
   */
  readonly key?:
    | {
        readonly file: string;
      }
    | {
        readonly env: string;
      }
    | {
        /**
         * A field of a secret in the KV engine (version 2) of secrets.vault, as <mount>/<path>#<field>.
         */
        readonly vault: string;
      };
  /**
   * Kept alive between requests. A request beyond that waits for one.
   */
  readonly connections: number;
  readonly firstByteTimeout: string;
  /**
   * Between two pieces of a reply.
   */
  readonly idleTimeout: string;
  /**
   * For a whole reply.
   */
  readonly timeout: string;
  readonly maxReply: string;
}
/**
 * A call runs a nested turn, which spends the budget of the outer one.
 */
export interface Agent {
  /**
   * For the models that may call it.
   */
  readonly description: string;
  /**
   * Model alias. Empty: the one of the outer turn.
   */
  readonly model: string;
  /**
   * Instructions before those that every turn gives its model.
   */
  readonly prompt: string;
  /**
   * The only tools that the agent may call, such as fs.read. Calls of an agent need turn.maxToolDepth of 2 or more.
   */
  readonly tools: readonly string[];
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
