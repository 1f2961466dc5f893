// Generated from contracts/audit/records/host.started.schema.json by `make generate`.

/**
 * A host opened the ledger.
 */
export interface HostStartedBody {
  readonly version: string;
  readonly configDigest?: `sha256:${string}`;
  readonly reason?: string;
}
