import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { signDocument, signerFromPem } from '@zerolatency/signing';
import { makeKey, type TestKey } from '@zerolatency/testing';
import { REVOCATION_LIST, type RevocationFiles, type RevocationList } from '../src/index.ts';

type Entry = RevocationList['devices'][number];

/** Revokes what the device was issued until now. */
export function revoked(device: string, atMs = Date.now(), tenant = 'north'): Entry {
  return { tenant, device, revokedAt: new Date(atMs).toISOString() };
}

export interface ListFields extends Partial<RevocationList> {
  readonly signedBy?: TestKey;
}

/** Writes signed lists, each of the next version, where a relay or host watches for them. */
export function revocationFiles(dir: string) {
  const key = makeKey();
  const files: RevocationFiles = {
    file: join(dir, 'revocations.dsse.json'),
    keysDir: join(dir, 'revocation-keys'),
    stateFile: join(dir, 'revocations-floor.json'),
  };
  mkdirSync(files.keysDir);
  writeFileSync(join(files.keysDir, 'one.pem'), key.publicPem);
  let version = 0;
  const sign = ({ signedBy = key, ...fields }: ListFields) => {
    version += 1;
    const list: RevocationList = {
      schema: 'zerolatency.revocations/v1',
      id: 'default',
      version,
      issuedAt: new Date().toISOString(),
      devices: [],
      ...fields,
    };
    return signDocument(REVOCATION_LIST, list, [signerFromPem(signedBy.privatePem)]);
  };
  const put = (text: string) => {
    writeFileSync(`${files.file}.next`, text);
    renameSync(`${files.file}.next`, files.file);
  };
  const publish = async (...devices: readonly Entry[]) => put(await sign({ devices }));
  return { files, key, sign, put, publish };
}
