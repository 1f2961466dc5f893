import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { ZlError } from '@zerolatency/errors';
import type { ManifestServer } from '@zerolatency/policy';

/**
 * That what would be started is what was signed. Looked at each start. Someone
 * who can write these files between this look and the start is the same user
 * as the bridge or its administrator, whom this does not protect against.
 */
export async function checkExecutable(server: ManifestServer): Promise<void> {
  const files = [{ path: server.command, sha256: server.sha256 }, ...(server.files ?? [])];
  await Promise.all(files.map((file) => checkFile(server.name, file)));
}

async function checkFile(name: string, file: { path: string; sha256: string }): Promise<void> {
  const sha256 = await hashFile(file.path).catch((cause: unknown) => {
    throw new ZlError('manifest.invalid', `${name}: cannot read ${file.path}`, { cause });
  });
  if (sha256 === file.sha256) return;
  throw new ZlError('manifest.invalid', `${name}: ${file.path} is not the file that was signed`);
}

/** As a stream: an interpreter has a hundred megabytes. */
async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}
