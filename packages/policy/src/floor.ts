/** The newest version ever accepted. Older ones, and another of the same version, are refused. */
export interface Floor {
  readonly id: string;
  readonly version: number;
  readonly digest: string;
}

/** Where the floor survives a restart. */
export interface FloorPort {
  /** Undefined before the first bundle. Rejects when the floor cannot be known. */
  load(): Promise<Floor | undefined>;
  /** Resolves once it would survive a crash. */
  save(floor: Floor): Promise<void>;
}

/** For programs that keep nothing; a restart accepts any version again. */
export function memoryFloor(): FloorPort {
  let kept: Floor | undefined;
  return {
    load: async () => kept,
    save: async (floor) => {
      kept = floor;
    },
  };
}

/** Why a document that is otherwise good must not replace what was accepted before. */
export function rollbackFault(floor: Floor | undefined, offered: Floor): string | undefined {
  if (floor === undefined) return undefined;
  if (offered.id !== floor.id) {
    return `its id is ${offered.id}, and this installation follows ${floor.id}`;
  }
  if (offered.version < floor.version) {
    return `its version ${offered.version} is older than ${floor.version}, accepted before`;
  }
  if (offered.version === floor.version && offered.digest !== floor.digest) {
    return `it differs from the version ${floor.version} that was accepted before`;
  }
  return undefined;
}
