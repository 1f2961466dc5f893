import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';

export interface KeySet {
  /** Another function whenever the file has changed. */
  keys(): JWTVerifyGetKey;
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
  const parse = (text: string) => {
    try {
      return createLocalJWKSet(withoutSecrets(JSON.parse(text)));
    } catch (cause) {
      const message = `${setting}: ${file} is not a JSON Web Key Set of public keys`;
      throw new ZlError('config.invalid', message, { cause });
    }
  };
  let keys = parse(await read(file, setting));
  let refusal: string | undefined;
  const watch = watchFiles({
    pollMs,
    files: async () => [file],
    onChange: (contents) => {
      keys = parse(contents.get(file)?.toString() ?? '');
      refusal = undefined;
      log.info({ file }, `${setting} loaded`);
    },
    onError: (err) => {
      refusal = err instanceof Error ? err.message : String(err);
      log.warn({ err, file }, `${setting} is unusable; the last keys stay in force`);
    },
  });
  return {
    keys: () => keys,
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

/** A symmetric or private key in this file is a mistake worth stopping for. */
function withoutSecrets(set: JSONWebKeySet): JSONWebKeySet {
  for (const key of set.keys) {
    if (key.kty === 'oct' || 'd' in key) throw new Error('the key set holds a secret key');
  }
  return set;
}
