import { dirname } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { fileFault, makeFolder, readIfThere, writeAtomically } from '@zerolatency/service/files';
import { acquireLock } from '@zerolatency/service/processes';
import type { ListStore } from '../../registrar/revocation-authority.ts';

/** The list in a file, and beside it the last time of issue. */
export function revocationFile(file: string): ListStore {
  const issuedFile = `${file}.issued`;
  return {
    name: file,
    async load() {
      const fault = await fileFault(file);
      if (fault === undefined) return readIfThere(file);
      // Without one the first list is made; whatever else is in the way is not read.
      if ('code' in fault && fault.code === 'ENOENT') return undefined;
      throw fault;
    },
    save: (envelope) => writeAtomically(file, envelope),
    async loadLastIssuedMs() {
      const text = (await readIfThere(issuedFile)) ?? '0';
      const unixMs = Number(text);
      if (text.trim() !== '' && Number.isSafeInteger(unixMs) && unixMs >= 0) return unixMs;
      const remedy = 'write the time of its last credential into it, in milliseconds since 1970';
      throw new ZlError('file.unusable', `${issuedFile} is not a time: ${remedy}`);
    },
    saveLastIssuedMs: (unixMs) => writeAtomically(issuedFile, `${unixMs}\n`),
  };
}

/** Keeps a second registrar of this machine away from the list. */
export async function lockRevocationFile(file: string): Promise<{ release(): void }> {
  await makeFolder(dirname(file));
  return acquireLock(`${file}.lock`, (holderPid) => {
    const holder = holderPid === undefined ? 'another registrar' : `the process ${holderPid}`;
    const why = `${holder} keeps the revocation list ${file}; run one registrar with it`;
    return new ZlError('file.unusable', why);
  });
}
