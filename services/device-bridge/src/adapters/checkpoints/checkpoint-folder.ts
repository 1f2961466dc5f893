import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { claimedCheckpoint } from '@zerolatency/ledger/checkpoint';
import { makeFolder, readIfThere, writeAtomically } from '@zerolatency/service/files';
import { type Verifier, verifierFromPem } from '@zerolatency/signing';
import type { CheckpointStore, KeptCheckpoint, WitnessedLedger } from '../../witness/witness.ts';

/** A signed note in each file, as zl audit verify and public tools read it. */
const NAME = /^(?<ledgerId>[0-9a-f]{32})-(?<keyid>[0-9a-f]{16})\.checkpoint$/;

export async function openCheckpoints(folder: string): Promise<CheckpointStore> {
  await makeFolder(folder);
  const kept = new Map<string, KeptCheckpoint>();
  /** No other checkpoint may take the place of what cannot be read. */
  const unreadable = new Map<string, unknown>();
  const fileOf = ({ ledgerId, keyid }: WitnessedLedger) => join(folder, `${ledgerId}-${keyid}`);
  for (const name of await readdir(folder)) {
    const { ledgerId, keyid } = NAME.exec(name)?.groups ?? {};
    if (ledgerId === undefined || keyid === undefined) continue;
    const file = fileOf({ ledgerId, keyid });
    await readKept(file, { ledgerId, keyid }).then(
      (read) => kept.set(file, read),
      (reason: unknown) => unreadable.set(file, reason),
    );
  }
  return {
    folder,
    list: () => [...kept.values()].map(withoutSettled),
    async keep(ledger, checkpoint, note) {
      const file = fileOf(ledger);
      if (unreadable.has(file)) throw unreadable.get(file);
      await writeAtomically(`${file}.checkpoint`, note);
      kept.set(file, { ...kept.get(file), ...ledger, checkpoint, note, atMs: Date.now() });
    },
    async refuse(ledger, checkpoint, note) {
      const before = kept.get(fileOf(ledger));
      if (before === undefined || withoutSettled(before).refused !== undefined) return undefined;
      const file = `${fileOf(ledger)}.refused`;
      await writeAtomically(file, note);
      kept.set(fileOf(ledger), { ...before, refused: { checkpoint, file } });
      return file;
    },
  };
}

/** A person who has settled it removes the file, also while the bridge runs. */
function withoutSettled({ refused, ...kept }: KeptCheckpoint): KeptCheckpoint {
  return refused !== undefined && existsSync(refused.file) ? { ...kept, refused } : kept;
}

async function readKept(file: string, ledger: WitnessedLedger): Promise<KeptCheckpoint> {
  const note = await readFile(`${file}.checkpoint`, 'utf8');
  const { mtimeMs: atMs } = await stat(`${file}.checkpoint`);
  const kept = { ...ledger, checkpoint: readNote(`${file}.checkpoint`, note), note, atMs };
  const refused = await readIfThere(`${file}.refused`);
  if (refused === undefined) return kept;
  const checkpoint = readNote(`${file}.refused`, refused);
  return { ...kept, refused: { checkpoint, file: `${file}.refused` } };
}

function readNote(file: string, note: string) {
  const checkpoint = claimedCheckpoint(note);
  if (checkpoint !== undefined) return checkpoint;
  throw new ZlError('config.invalid', `${file} is not a checkpoint: restore it, or remove it`);
}

/** Only Ed25519 keys sign checkpoints. */
export async function readHostKeys(dir: string): Promise<readonly Verifier[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.pem')).sort();
  const pems = await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
  if (pems.length === 0) throw new ZlError('config.invalid', `${dir} contains no *.pem file`);
  return pems.map((pem) => verifierFromPem(pem));
}
