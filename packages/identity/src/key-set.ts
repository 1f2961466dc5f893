import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import type { JWTVerifyGetKey } from 'jose';
import { KeyRing } from './key-ring.ts';

export interface KeySet {
  /** Another function whenever the file has changed. */
  keys(): JWTVerifyGetKey;
  /** The same keys, with a signal for the withdrawal of each. */
  ring(): KeyRing;
  /** For a component report. */
  status(): { status: 'ok' | 'degraded'; detail: string };
  /** Reads the file again now. */
  check(): Promise<void>;
  close(): void;
}

export interface KeySetOptions {
  readonly file: string;
  /** Names the file in errors. */
  readonly setting: string;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
  readonly pollMs?: number;
}

/** A JSON Web Key Set in a file. When the file becomes unusable, the last good keys stay in force. */
export async function watchKeySet({
  file,
  setting,
  log,
  pollMs = 1000,
}: KeySetOptions): Promise<KeySet> {
  const parse = async (text: string, before?: KeyRing) => {
    try {
      return await KeyRing.parse(text, before);
    } catch (cause) {
      const message = `${setting}: ${file} is not a JSON Web Key Set of public keys`;
      throw new ZlError('config.invalid', message, { cause });
    }
  };
  let ring = await parse(await read(file, setting));
  let refusal: string | undefined;
  const watch = watchFiles({
    pollMs,
    files: async () => [file],
    onChange: async (contents) => {
      ring = await parse(contents.get(file)?.toString() ?? '', ring);
      refusal = undefined;
      log.info({ file }, `${setting} loaded`);
    },
    onError: (err) => {
      refusal = err instanceof Error ? err.message : String(err);
      log.warn({ err, file }, `${setting} is unusable; the last keys stay in force`);
    },
  });
  return {
    keys: () => ring.select,
    ring: () => ring,
    status: () =>
      refusal === undefined
        ? { status: 'ok', detail: file }
        : { status: 'degraded', detail: `the last keys stay in force: ${refusal}` },
    check: () => watch.check(),
    close: () => watch.close(),
  };
}

async function read(file: string, setting: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ZlError('config.invalid', `${setting}: ${file} cannot be read`, { cause });
  }
}
