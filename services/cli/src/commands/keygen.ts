import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';
import { generateKeyPair } from '@zerolatency/signing';
import { writePrivate, writePublic } from '../installation/private-file.ts';
import { EXIT_STATUS, print, type Terminal } from '../terminal.ts';

/** Makes a key pair for bundles or manifests, in a folder where it can overwrite nothing. */
export async function keygen(terminal: Terminal, options: { out: string }): Promise<number> {
  const { out } = options;
  await makeFolder(out).catch((cause: NodeJS.ErrnoException) => {
    const message = `cannot make ${out} (${cause.code}); name a new or an empty folder`;
    throw new ZlError('config.invalid', message, { cause });
  });
  if ((await readdir(out)).length > 0) {
    throw new ZlError('config.invalid', `${out} is not empty; name a new or an empty folder`);
  }
  const { keyid, privatePem, publicPem } = generateKeyPair();
  const privateFile = join(out, 'private.pem');
  const publicFile = join(out, 'keys', `${keyid}.pem`);
  await writePrivate(privateFile, privatePem);
  await writePublic(publicFile, publicPem);
  print(terminal, `key ${keyid}`);
  print(terminal, `  private  ${privateFile}  (keep it; it signs)`);
  print(terminal, `  public   ${publicFile}  (hosts and bridges trust it)`);
  return EXIT_STATUS.ok;
}
