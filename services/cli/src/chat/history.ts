import { createReadStream } from 'node:fs';
import { appendFile, chmod, stat } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fromLocal } from '@zerolatency/errors';
import { foreignText, maskText, STREAM_DETECTORS } from '@zerolatency/redaction';
import { writePrivate } from '../installation/private-file.ts';

/** As many as shells keep. */
const MAX_ENTRIES = 1_000;
/** Nobody calls back a longer one; it was pasted. */
const MAX_ENTRY_BYTES = 4_096;
/** What a run reads of the file, which it then cuts. */
const MAX_FILE_BYTES = MAX_ENTRIES * MAX_ENTRY_BYTES;

/** What a person wrote in earlier runs: one JSON string per line, which only they can read. */
export class ChatHistory {
  /** The newest first. */
  readonly entries: readonly string[];
  readonly #file: string;
  readonly #onFailure: (reason: string) => void;
  #hasFailed = false;

  private constructor(
    file: string,
    entries: readonly string[],
    onFailure: (reason: string) => void,
  ) {
    this.#file = file;
    this.entries = entries;
    this.#onFailure = onFailure;
  }

  /** Without a file that can be read it is empty. `onFailure` is called once. */
  static async open(file: string, onFailure: (reason: string) => void): Promise<ChatHistory> {
    const lines = (await readTail(file).catch(() => '')).split('\n').filter((line) => line !== '');
    const kept = lines.slice(-MAX_ENTRIES);
    const history = new ChatHistory(file, kept.flatMap(entryOf).reverse(), onFailure);
    if (lines.length > MAX_ENTRIES) {
      await history.#attempt(() => writePrivate(file, kept.map((line) => `${line}\n`).join('')));
    }
    return history;
  }

  /** As in shells, what begins with a space is not kept; nor is what contains a secret. */
  async keep(said: string): Promise<void> {
    const line = `${JSON.stringify(said)}\n`;
    if (said.startsWith(' ') || Buffer.byteLength(line) > MAX_ENTRY_BYTES) return;
    if (maskText(said, { detectors: STREAM_DETECTORS }).found.length > 0) return;
    await this.#attempt(async () => {
      await appendFile(this.#file, line, { mode: 0o600 });
      // The mode above is that of a new file only.
      await chmod(this.#file, 0o600);
    });
  }

  /** A conversation goes on without its history. */
  async #attempt(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (reason) {
      if (!this.#hasFailed) this.#onFailure(fromLocal(reason).message);
      this.#hasFailed = true;
    }
  }
}

async function readTail(file: string): Promise<string> {
  const { size } = await stat(file);
  return await text(createReadStream(file, { start: Math.max(0, size - MAX_FILE_BYTES) }));
}

/** Another program may have written the file. */
function entryOf(line: string): string[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'string' ? [foreignText(value)] : [];
  } catch {
    return [];
  }
}
