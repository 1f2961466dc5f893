// Generated from contracts/policy/manifest.schema.json by `make generate`.

/**
 * The MCP servers a device may start, and nothing else. Payload of a DSSE envelope of type application/vnd.zerolatency.manifest.v1+json, in canonical JSON (RFC 8785).
 */
export interface Manifest {
  readonly schema: 'zerolatency.manifest/v1';
  readonly id: string;
  readonly version: number;
  /**
   * UTC, RFC 3339.
   */
  readonly issuedAt: string;
  readonly servers: readonly Server[];
}
export interface Server {
  /**
   * First part of its tools' names.
   */
  readonly name: string;
  /**
   * Started as it stands, by no shell.
   */
  readonly command: string;
  /**
   * Of the file at command.
   */
  readonly sha256: string;
  /**
   * Other files that must be as they were when this was signed, such as the script that an interpreter runs.
   */
  readonly files?: readonly {
    readonly path: string;
    readonly sha256: string;
  }[];
  readonly args: readonly string[];
  /**
   * The server's whole environment.
   */
  readonly env: {
    /**
     * Passed on from the bridge's own environment where it has them.
     */
    readonly allow: readonly string[];
    readonly set: {
      readonly [k: string]: string;
    };
  };
  readonly cwd?: string;
  /**
   * What each tool, by its name without the server's, can change. A tool that is not named here is taken to have effects outside the device.
   */
  readonly effects?: {
    readonly [k: string]: 'none' | 'local' | 'external';
  };
  readonly limits?: {
    readonly maxLineBytes?: number;
    readonly startTimeoutMs?: number;
    readonly callTimeoutMs?: number;
    readonly maxConcurrentCalls?: number;
  };
}
