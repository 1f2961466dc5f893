import { ZlError } from '@zerolatency/errors';
import { readIfThere, writeAtomically } from '@zerolatency/service/files';

/** The newest document ever accepted. Older ones, and others of the same version, are refused. */
export interface Floor {
  readonly id: string;
  readonly version: number;
  readonly digest: string;
  /** The latest time at which the document was in force; absent in a floor of release 0.1.0. */
  readonly seenMs?: number;
}

/** Where the floor survives a restart. */
export interface FloorPort {
  /** Undefined before the first document. Rejects when the floor cannot be read. */
  load(): Promise<Floor | undefined>;
  /** Resolves once the floor would survive a crash. */
  save(floor: Floor): Promise<void>;
}

interface Fault {
  readonly reason: 'rolled_back' | 'wrong_predecessor';
  readonly message: string;
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

/** Remembers, apart from the file, that an installation has a floor. */
export interface FloorMark {
  isSet(): boolean;
  set(): void;
}

/**
 * `{"reset":true}` in the file lets an installation follow another document. Where the file
 * is gone and the mark is set, somebody removed it, and no document is accepted.
 */
export function openFloorFile(path: string, mark?: FloorMark): FloorPort {
  return {
    async load() {
      const floor = await load(path);
      if (floor === 'missing' && mark?.isSet()) {
        const remedy = 'restore it, or write {"reset":true} into it to accept any version again';
        throw new ZlError('config.invalid', `${path} is missing, and was there before: ${remedy}`);
      }
      if (floor === 'missing' || floor === 'reset') return undefined;
      mark?.set();
      return floor;
    },
    async save({ id, version, digest, seenMs }) {
      await writeAtomically(path, `${JSON.stringify({ id, version, digest, seenMs })}\n`);
      mark?.set();
    },
  };
}

/** Why an otherwise valid document must not replace the one accepted before. */
export function rollbackFault(
  floor: Floor | undefined,
  offered: Floor & { readonly previousDigest?: string | undefined },
): Fault | undefined {
  if (floor === undefined) return undefined;
  const rolledBack = (message: string): Fault => ({ reason: 'rolled_back', message });
  const { id, version, digest, previousDigest } = offered;
  if (id !== floor.id) {
    return rolledBack(`its id is ${id}, and this installation follows ${floor.id}`);
  }
  if (version < floor.version) {
    return rolledBack(`its version ${version} is older than ${floor.version}, accepted before`);
  }
  if (version === floor.version && digest !== floor.digest) {
    return rolledBack(`it differs from the version ${floor.version} that was accepted before`);
  }
  // With a gap between the versions the predecessor is not known here.
  const isNext = version === floor.version + 1;
  if (!isNext || previousDigest === undefined || previousDigest === floor.digest) return undefined;
  const message = `its previousDigest is not that of the version ${floor.version} accepted before`;
  return { reason: 'wrong_predecessor', message };
}

async function load(path: string): Promise<Floor | 'missing' | 'reset'> {
  const text = await readIfThere(path);
  if (text === undefined) return 'missing';
  const floor = parse(text);
  // A guess could let an older document in.
  if (floor === undefined) throw new ZlError('config.invalid', `${path} cannot be read as a floor`);
  return floor;
}

function parse(text: string): Floor | 'reset' | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The caller names the file.
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('reset' in value && value.reset === true) return 'reset';
  if (!('id' in value && 'version' in value && 'digest' in value)) return undefined;
  const { id, version, digest } = value;
  if (typeof id !== 'string' || typeof digest !== 'string') return undefined;
  if (typeof version !== 'number' || !Number.isSafeInteger(version)) return undefined;
  if (!('seenMs' in value)) return { id, version, digest };
  const { seenMs } = value;
  if (typeof seenMs !== 'number') return undefined;
  return { id, version, digest, seenMs };
}
