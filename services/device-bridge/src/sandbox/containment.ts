import type { ManifestServer } from '@zerolatency/manifest';

/** What starts a process; the same as an MCP transport takes. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** Files and folders of the program beside its command, which it reads. */
  readonly code: readonly string[];
}

/** How a server that runs is held, as `zl status` shows it; from the most to the least. */
export type ContainmentKind = 'sandbox' | 'cgroup' | 'process group';

/** One start of one server. */
export interface Containment {
  readonly kind: ContainmentKind;
  /** Starts the program contained. */
  readonly program: Omit<Program, 'code'> & {
    /** Sends SIGTERM, where a signal to the started process would not reach the program. */
    readonly terminate?: (pid: number) => void;
  };
  /** Kills what the first process left behind, once that has ended. */
  end(): Promise<void>;
}

/** What a sandboxed server may reach; everything else does not exist for it. */
export interface Reach {
  readonly readable: readonly string[];
  readonly writable: readonly string[];
  /** Never writable, also inside a writable folder. */
  readonly pinned: readonly string[];
  readonly hasNetwork: boolean;
  readonly maxMemoryBytes: number;
  readonly maxProcesses: number;
}

/** Room for any interpreter and a large document; a server that needs more says so. */
const DEFAULT_MEMORY_BYTES = 2 ** 30;
/** Threads count: Node starts with eleven. */
const DEFAULT_PROCESSES = 256;

export function reachOf(spec: ManifestServer, { command, code, cwd }: Program): Reach {
  const { read = [], write = [], network = [] } = spec.grants ?? {};
  const { maxMemoryBytes = DEFAULT_MEMORY_BYTES, maxProcesses = DEFAULT_PROCESSES } =
    spec.limits ?? {};
  const roots = 'builtin' in spec ? spec.settings.roots : [];
  return {
    readable: [...(cwd === undefined ? [] : [cwd]), ...roots, ...read],
    writable: write,
    pinned: [command, ...code],
    hasNetwork: network.length > 0,
    maxMemoryBytes,
    maxProcesses,
  };
}
