import { ZlError } from '@zerolatency/errors';
import { foreignLine } from '@zerolatency/redaction';
import {
  checkDocument,
  type DocumentHead,
  type DocumentKind,
  documentName,
  openFloorFile,
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
  /** The floors of this installation, in files. */
  readonly floors?: readonly string[];
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
  await expectHigher(kind, content, out);
  await writePublic(out, await signDocument(kind, content, [signer]));
  for (const warning of await warningsOf(content)) {
    terminal.stderr.write(`warning: ${wholeLine(warning)}\n`);
  }
  print(terminal, `signed ${documentName(content)} with ${signer.keyid} into ${out}`);
  return EXIT_STATUS.ok;
}

/** Whoever has accepted the version in the file refuses the same and every lower one. */
async function expectHigher<T extends DocumentHead>(
  kind: DocumentKind<T>,
  { id, version }: T,
  out: string,
): Promise<void> {
  // No such file, or not a document: nothing that was in force is replaced.
  const replaced = await readContent(kind, out).catch(() => undefined);
  if (replaced?.id !== id || replaced.version < version) return;
  const message = `${out} holds ${documentName(replaced)}; raise version in the file above ${replaced.version}`;
  throw new ZlError(kind.errorId, message);
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
  { json, keys: keysPath, floors = [], show }: VerifyOptions & { show(content: T): Shown },
): Promise<number> {
  const [envelope, keys] = await Promise.all([readText(file), readKeys(keysPath)]);
  const verified = await verifyAgainst(kind, envelope, { keys, floors });
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

/** Another document than the one that is followed here has no floor here. */
async function verifyAgainst<T extends DocumentHead>(
  kind: DocumentKind<T>,
  envelope: string,
  { keys, floors }: { readonly keys: readonly string[]; readonly floors: readonly string[] },
) {
  const rules = { keys, nowMs: Date.now() };
  const verified = verifyDocument(kind, envelope, rules);
  if ('error' in verified) return verified;
  for (const path of floors) {
    const floor = await openFloorFile(path).load();
    if (floor?.id !== verified.content.id) continue;
    const compared = verifyDocument(kind, envelope, { ...rules, floor });
    if ('error' in compared) return compared;
  }
  return verified;
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
