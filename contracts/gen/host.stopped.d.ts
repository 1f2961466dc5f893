// Generated from contracts/audit/records/host.stopped.schema.json by `make generate`.

/**
 * A host is about to close the ledger.
 */
export interface HostStoppedBody {
  readonly version: string;
  readonly configDigest?: `sha256:${string}`;
  readonly reason?: string;
}
