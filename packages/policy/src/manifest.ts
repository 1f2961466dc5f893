/** contracts/policy/manifest.schema.json says what each field means and how far it goes. */
export interface Manifest {
  readonly schema: 'zerolatency.manifest/v1';
  readonly id: string;
  readonly version: number;
  readonly issuedAt: string;
  readonly servers: readonly ManifestServer[];
}

export interface ManifestServer {
  readonly name: string;
  readonly command: string;
  readonly sha256: string;
  readonly files?: readonly ManifestFile[];
  readonly args: readonly string[];
  readonly env: {
    readonly allow: readonly string[];
    readonly set: Readonly<Record<string, string>>;
  };
  readonly cwd?: string;
  readonly effects?: Readonly<Record<string, 'none' | 'local' | 'external'>>;
  readonly limits?: ManifestLimits;
}

export interface ManifestFile {
  readonly path: string;
  readonly sha256: string;
}

export interface ManifestLimits {
  readonly maxLineBytes?: number;
  readonly startTimeoutMs?: number;
  readonly callTimeoutMs?: number;
  readonly maxConcurrentCalls?: number;
}
