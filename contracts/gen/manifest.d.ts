// Generated from contracts/policy/manifest.schema.json by `make generate`.

/**
 * The MCP servers a device may start, and nothing else. Payload of a DSSE envelope of type application/vnd.zerolatency.manifest.v2+json, in canonical JSON (RFC 8785).
 */
export interface Manifest {
  /**
   * Under v2 a server that names no sandbox runs without one, and code that is not pinned is accepted; v2 has no unpinned, maxMemoryBytes and maxProcesses.
   */
  readonly schema: 'zerolatency.manifest/v2' | 'zerolatency.manifest/v3';
  readonly id: string;
  readonly version: number;
  /**
   * UTC, RFC 3339.
   */
  readonly issuedAt: string;
  readonly servers: readonly (CommandServer | BuiltinServer)[];
}
/**
 * A program of the device, pinned by hashes.
 */
export interface CommandServer {
  /**
   * First part of its tools' names.
   */
  readonly name: string;
  /**
   * Started as it is, without a shell.
   */
  readonly command: string;
  /**
   * SHA-256 of the file at command.
   */
  readonly sha256: string;
  /**
   * Other files that must be as they were signed, such as the script that an interpreter runs.
   */
  readonly files?: readonly Pinned[];
  /**
   * Folders whose whole content must be as it was signed, such as the code that a script imports. The hash covers the relative path, the owner's execute permission and the content of every file; a folder with a link in it is refused. `zl manifest hash <folder>` computes it.
   */
  readonly folders?: readonly Pinned[];
  /**
   * Accepts that code this server runs is not pinned. Without it, an interpreter whose script lies in none of the folders does not start.
   */
  readonly unpinned?: true;
  readonly args: readonly string[];
  /**
   * The server's whole environment.
   */
  readonly env: {
    /**
     * Variables passed on from the bridge's own environment, where set.
     */
    readonly allow: readonly string[];
    readonly set: {
      readonly [k: string]: string;
    };
  };
  readonly cwd?: string;
  /**
   * What each tool, by its name without the server's, can change. A tool that is missing here counts as having effects outside the device.
   */
  readonly effects?: {
    readonly [k: string]: 'none' | 'local' | 'external';
  };
  readonly limits?: Limits;
  /**
   * required: the server does not start without a sandbox. none: it runs without one. When absent it runs in one on devices that can, and otherwise without; under v2, a program without one.
   */
  readonly sandbox?: 'none' | 'required';
  readonly grants?: Grants;
}
export interface Pinned {
  readonly path: string;
  readonly sha256: string;
}
export interface Limits {
  readonly maxLineBytes?: number;
  readonly startTimeoutMs?: number;
  readonly callTimeoutMs?: number;
  readonly maxConcurrentCalls?: number;
  /**
   * Private memory of each process in a sandbox, and the size of its /tmp; 1 GiB by default.
   */
  readonly maxMemoryBytes?: number;
  /**
   * Processes and threads in a sandbox; 256 by default.
   */
  readonly maxProcesses?: number;
}
/**
 * What a sandboxed server may reach beyond its own program, the roots of its settings and the system's libraries.
 */
export interface Grants {
  /**
   * Files and folders it may read.
   */
  readonly read?: readonly string[];
  /**
   * Files and folders it may read and change. What is pinned stays read-only.
   */
  readonly write?: readonly string[];
  /**
   * ["*"]: the network of the device. Host names are reserved: no sandbox can restrict hosts yet, so a manifest that names them is refused unless the server runs without a sandbox.
   */
  readonly network?: readonly string[];
}
/**
 * A server that is part of the bridge, so that its program needs no hash.
 */
export interface BuiltinServer {
  /**
   * First part of its tools' names.
   */
  readonly name: string;
  /**
   * fs reads files below its roots.
   */
  readonly builtin: 'fs';
  readonly settings: {
    /**
     * Folders whose files may be read; relative paths start at the first one.
     */
    readonly roots: readonly string[];
    /**
     * Upper bound on one read; 1 MiB by default.
     */
    readonly maxReadBytes?: number;
  };
  readonly limits?: Limits;
  /**
   * required: the server does not start without a sandbox. none: it runs without one. When absent it runs in one on devices that can, and otherwise without; under v2, a program without one.
   */
  readonly sandbox?: 'none' | 'required';
  readonly grants?: Grants;
}
