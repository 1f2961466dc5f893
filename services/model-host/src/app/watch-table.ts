import { fromLocal, ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import type { ComponentStatus } from '@zerolatency/service/lifecycle';
import type { Logger } from '@zerolatency/service/telemetry';
import { parseDocument } from 'yaml';

export interface TableOptions {
  /** Empty when the setting is absent. */
  readonly file: string;
  readonly setting: string;
  /** Takes the parsed file into use, or throws and leaves what is in use as it is. */
  readonly use: (table: unknown, text: string) => void;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

export interface WatchedTable {
  /** Degraded with the reason while the file is refused. */
  status(detail: string): ComponentStatus;
  close(): void;
}

const POLL_MS = 1000;
/** Parsing blocks the event loop. */
const MAX_CHARS = 1024 * 1024;

/** A file of settings, JSON or YAML, that is read again when it changes. @throws config.invalid at the start */
export async function watchTable({ file, setting, use, log }: TableOptions): Promise<WatchedTable> {
  let fault: string | undefined;
  const watch = watchFiles({
    files: async () => (file === '' ? [] : [file]),
    onChange: (contents) => {
      for (const bytes of contents.values()) use(parseTable(bytes.toString()), bytes.toString());
      if (fault !== undefined) log.info({ file }, `${setting} is in use again`);
      fault = undefined;
    },
    onError: (reason) => {
      fault = fromLocal(reason).message;
      log.warn({ file, why: fault }, `${setting} is refused; what was read before stays in use`);
    },
    pollMs: POLL_MS,
  });
  await watch.check();
  if (fault !== undefined) {
    watch.close();
    throw new ZlError('config.invalid', `${setting}: ${file}: ${fault}`);
  }
  return {
    status: (detail) =>
      fault === undefined
        ? { status: 'ok', detail }
        : { status: 'degraded', detail: `${detail}; ${file} is refused: ${fault}` },
    close: watch.close,
  };
}

/** @internal @throws config.invalid */
export function parseTable(text: string): unknown {
  if (text.length > MAX_CHARS) throw refuse(`it has more than ${MAX_CHARS} characters`);
  const document = parseDocument(text);
  const broken = document.errors[0]?.message.split('\n')[0];
  if (broken !== undefined) throw refuse(broken);
  try {
    // With YAML aliases a small file becomes a huge table.
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw refuse('YAML aliases are not allowed', { cause });
  }
}

function refuse(why: string, options?: ErrorOptions): ZlError {
  return new ZlError('config.invalid', why, options);
}
