import { createWriteStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZlError } from '@zerolatency/errors';
import { makeFolder, writeAtomically } from '@zerolatency/service/files';
import { keepBundle } from './bundles.ts';
import { CHECKPOINT_FILE } from './checkpoint.ts';
import { sourceOf } from './file-store.ts';
import { parseRecord } from './record.ts';
import type { Segment } from './segments.ts';
import type { LedgerSource } from './store.ts';

const LINE_FEED = Buffer.from('\n');

export interface ExportedLedger {
  readonly records: number;
  readonly segments: number;
  readonly bundles: number;
}

/**
 * Writes the ledger into a new folder, in the bytes that a ledger of files has. An altered record is
 * written as it is, for the verifier. The checkpoint comes last: without one an export is not complete.
 */
export async function exportLedger(
  ledger: string | LedgerSource,
  dir: string,
): Promise<ExportedLedger> {
  const source = sourceOf(ledger);
  // Read before the records, which a running host may continue meanwhile.
  const checkpoint = await source.checkpoint();
  const segments = await source.segments();
  try {
    await makeFolder(dir);
    if ((await readdir(dir)).length > 0) {
      throw new ZlError('file.unusable', `${dir} is not empty; name a new folder`);
    }
    const digests = new Set<string>();
    let records = 0;
    for (const segment of segments) records += await copySegment(source, { segment, dir, digests });
    let bundles = 0;
    for (const digest of digests) {
      const text = await source.bundle(digest);
      // The verifier names those that nobody kept.
      if (text === undefined) continue;
      keepBundle(dir, digest, text);
      bundles++;
    }
    if (checkpoint !== undefined) {
      await writeAtomically(join(dir, CHECKPOINT_FILE), checkpoint, true);
    }
    return { records, segments: segments.length, bundles };
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new ZlError('file.unusable', `cannot write to ${dir}: ${cause.message}`, { cause });
  }
}

async function copySegment(
  source: LedgerSource,
  { segment, dir, digests }: { segment: Segment; dir: string; digests: Set<string> },
): Promise<number> {
  let records = 0;
  async function* bytes() {
    for await (const { bytes } of source.lines(segment)) {
      const record = parseRecord(bytes).value;
      if (record?.kind === 'policy.changed' && record.body.policyDigest !== undefined) {
        digests.add(record.body.policyDigest);
      }
      records++;
      yield Buffer.concat([bytes, LINE_FEED]);
    }
  }
  const file = createWriteStream(join(dir, segment.name), {
    flags: 'wx',
    mode: 0o600,
    flush: true,
  });
  await pipeline(Readable.from(bytes()), file);
  return records;
}
