import { foreignLine } from '@zerolatency/redaction';
import {
  checkDocument,
  type DocumentHead,
  type DocumentKind,
  documentName,
  signDocument,
  signerFromPem,
  verifyDocument,
} from '@zerolatency/signing';
import { readDocument, readKeys, readText } from '../input.ts';
import { writePublic } from '../installation/private-file.ts';
import { EXIT_STATUS, print, printJson, readable, type Terminal } from '../terminal.ts';

export interface SignOptions {
  readonly key: string;
  readonly out: string;
}

export interface VerifyOptions {
  readonly json?: boolean;
  /** A public PEM file, or a folder of them. */
  readonly keys: string;
}

/** Signs the file as it is. Warnings go to stderr. */
export async function signFile<T extends DocumentHead>(
  terminal: Terminal,
  kind: DocumentKind<T>,
  file: string,
  { key, out, warningsOf }: SignOptions & { warningsOf(content: T): Promise<readonly string[]> },
): Promise<number> {
  const content = await readContent(kind, file);
  const signer = signerFromPem(await readText(key));
  await writePublic(out, await signDocument(kind, content, [signer]));
  for (const warning of await warningsOf(content)) {
    terminal.stderr.write(`warning: ${wholeLine(warning)}\n`);
  }
  print(terminal, `signed ${documentName(content)} with ${signer.keyid} into ${out}`);
  return EXIT_STATUS.ok;
}

interface Shown {
  /** After "is valid". */
  readonly until?: string;
  readonly fields: object;
  readonly lines?: readonly string[];
}

export async function verifyFile<T extends DocumentHead>(
  terminal: Terminal,
  kind: DocumentKind<T>,
  file: string,
  { json, keys: keysPath, show }: VerifyOptions & { show(content: T): Shown },
): Promise<number> {
  const [envelope, keys] = await Promise.all([readText(file), readKeys(keysPath)]);
  const verified = verifyDocument(kind, envelope, { keys, nowMs: Date.now() });
  if ('error' in verified) {
    if (!json) throw verified.error;
    const { id, message } = verified.error;
    printJson(terminal, { valid: false, error: { id, message } });
    return EXIT_STATUS.failed;
  }
  const { content, digest, keyids } = verified;
  const { id, version } = content;
  const { until, fields, lines = [] } = show(content);
  if (json) {
    printJson(terminal, { valid: true, id, version, digest, keyids, ...fields });
    return EXIT_STATUS.ok;
  }
  print(
    terminal,
    `${documentName(content)} is valid${until === undefined ? '' : ` until ${until}`}`,
  );
  print(terminal, `  digest  ${digest}\n  signed  ${keyids.join(', ')}`);
  for (const line of lines) print(terminal, wholeLine(line));
  return EXIT_STATUS.ok;
}

/** The content of a signed document, to read or to base the next one on. */
export async function showFile<T extends DocumentHead>(
  terminal: Terminal,
  kind: DocumentKind<T>,
  file: string,
): Promise<number> {
  print(terminal, readable(await readContent(kind, file)));
  return EXIT_STATUS.ok;
}

/** Content as a person wrote it, or that of an envelope, whose signature is not checked. */
export async function readContent<T extends DocumentHead>(
  kind: DocumentKind<T>,
  file: string,
): Promise<T> {
  const checked = checkDocument(kind, await readDocument(file, kind.errorId));
  if ('error' in checked) throw checked.error;
  return checked.content;
}

/** The cut part of a line could be the part that matters. */
function wholeLine(line: string): string {
  return foreignLine(line, Number.POSITIVE_INFINITY);
}
