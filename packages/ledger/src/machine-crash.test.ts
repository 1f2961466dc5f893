import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  intent,
  keys,
  ORIGIN,
  receipt,
  signer,
  useLedgerDirectory,
  watchedDisk,
} from '../test/ledger-fixture.ts';
import { type Ledger, openLedger } from './ledger.ts';
import { readLedger } from './read.ts';
import { verifyLedger } from './verify.ts';

const scratch = useLedgerDirectory();

/** What the machine's disk holds of one segment, whatever the process sees. */
interface Stored {
  synced: Buffer;
  /** The folder's entry for the file is on disk. */
  isNamed: boolean;
}

/** A folder on a disk that keeps only what was synced, and stops at its nth operation. */
class Machine {
  readonly dir: string;
  readonly disk = watchedDisk((operation, path) => {
    this.#step();
    // Replaced in one step, and synced before that.
    if (operation === 'replace') return;
    const stored = this.#storedAt(path);
    if (operation === 'datasync') stored.synced = readFileSync(path);
    if (operation === 'syncFolder') this.#syncNames();
  });
  readonly #stored = new Map<string, Stored>();
  #left: number;

  constructor(dir: string, operations: number) {
    this.dir = dir;
    this.#left = operations;
    mkdirSync(dir);
  }

  get floorFile(): string {
    return `${this.dir}.floor`;
  }

  get isDown(): boolean {
    return this.#left < 0;
  }

  /** The process ends and the machine does not: what was written and not synced can be read. */
  restartProcess(operations: number): void {
    this.#left = operations;
  }

  /** Starts again with what was synced and `share` of what was not. */
  restart(dir: string, share: number, operations: number): Machine {
    const next = new Machine(dir, operations);
    for (const [path, { synced, isNamed }] of this.#stored) {
      if (!isNamed && share < 1) continue;
      const seen = existsSync(path) ? readFileSync(path) : synced;
      const fresh = seen.subarray(0, synced.length).equals(synced)
        ? seen.subarray(synced.length)
        : Buffer.alloc(0);
      const kept = Buffer.concat([synced, fresh.subarray(0, Math.floor(fresh.length * share))]);
      const file = join(dir, basename(path));
      writeFileSync(file, kept);
      next.#stored.set(file, { synced: kept, isNamed: true });
    }
    const checkpoint = join(this.dir, 'checkpoint');
    if (existsSync(checkpoint)) copyFileSync(checkpoint, join(dir, 'checkpoint'));
    if (existsSync(this.floorFile)) copyFileSync(this.floorFile, next.floorFile);
    return next;
  }

  #storedAt(path: string): Stored {
    const stored = this.#stored.get(path) ?? { synced: Buffer.alloc(0), isNamed: false };
    if (path !== this.dir) this.#stored.set(path, stored);
    return stored;
  }

  #syncNames(): void {
    for (const [path, stored] of this.#stored) {
      if (existsSync(path)) stored.isNamed = true;
      else this.#stored.delete(path);
    }
  }

  #step(): void {
    if (this.#left-- <= 0) throw new Error('the machine is down');
  }
}

/** Record index to leaf hash. */
type Acknowledged = Map<number, string>;

const GROUPS = 3;
let folders = 0;
const newFolder = () => join(scratch.dir, `disk-${folders++}`);

/** Appends groups of records to segments of a few records each, until the machine is down. */
async function appendUntilDown(machine: Machine, acknowledged: Acknowledged): Promise<void> {
  const { dir, disk, floorFile } = machine;
  const bounds = { maxSegmentBytes: 3_000, checkpointEveryMs: 1 };
  let ledger: Ledger | undefined;
  try {
    ledger = await openLedger({ dir, origin: ORIGIN, signer, disk, floorFile, ...bounds });
    for (let group = 0; group < GROUPS; group++) {
      const number = ledger.size;
      ledger.appendSoon(intent(number));
      const entries = [intent(number + 1), await receipt(number), intent(number + 2)];
      const appended = await Promise.allSettled(
        entries.map(async (entry) => {
          const { index, leafHash } = await ledger!.append(entry);
          acknowledged.set(index, leafHash);
        }),
      );
      if (appended.some(({ status }) => status === 'rejected')) break;
    }
  } catch (reason) {
    assert.ok(machine.isDown, String(reason));
  }
  await ledger?.close().catch((reason: unknown) => assert.ok(machine.isDown, String(reason)));
}

/** Opens what a crash left: all that was acknowledged is there, and the ledger goes on. */
async function assertKept(machine: Machine, acknowledged: Acknowledged): Promise<void> {
  const { dir, disk, floorFile } = machine;
  const ledger = await openLedger({ dir, origin: ORIGIN, signer, disk, floorFile });
  await ledger.append(intent(1_000));
  await ledger.close();
  const found = new Map<number, string>();
  for await (const { record, leafHash } of readLedger(dir)) found.set(record.index, leafHash);
  for (const [index, leaf] of acknowledged) assert.equal(found.get(index), leaf, `record ${index}`);
  const report = await verifyLedger(dir, { keys, origin: ORIGIN });
  assert.ok(report.ok, JSON.stringify(report.firstBad));
}

test('[AUD-02] a machine that crashes at any write keeps every acknowledged record', async () => {
  let operations = 0;
  for (let isDown = true; isDown; operations++) {
    for (const share of [0, 0.5, 1]) {
      const machine = new Machine(newFolder(), operations);
      const acknowledged: Acknowledged = new Map();
      await appendUntilDown(machine, acknowledged);
      isDown = machine.isDown;
      const next = machine.restart(newFolder(), share, Number.POSITIVE_INFINITY);
      await assertKept(next, acknowledged);
    }
  }
  assert.ok(operations > 2 * GROUPS, `${operations} operations`);
});

const anyCrash = fc.record({
  operations: fc.nat({ max: 40 }),
  survivor: fc.constantFrom('machine', 'nothing'),
  share: fc.constantFrom(0, 0.3, 0.7, 1),
});

/** The second process ends between the removal of an empty segment and the sync of its folder. */
const REMOVED_AND_BACK = [
  { operations: 16, survivor: 'nothing', share: 0.7 },
  { operations: 29, survivor: 'machine', share: 0.3 },
  { operations: 1, survivor: 'nothing', share: 0 },
  { operations: 7, survivor: 'machine', share: 0.3 },
  { operations: 32, survivor: 'nothing', share: 1 },
];

test('[AUD-02] crashes of the process and the machine, one after another, lose no acknowledged record', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyCrash, { minLength: 2, maxLength: 5 }), async (crashes) => {
      const acknowledged: Acknowledged = new Map();
      let machine = new Machine(newFolder(), 0);
      for (const { operations, survivor, share } of crashes) {
        if (survivor === 'machine') machine.restartProcess(operations);
        else machine = machine.restart(newFolder(), share, operations);
        await appendUntilDown(machine, acknowledged);
      }
      const last = machine.restart(newFolder(), 0, Number.POSITIVE_INFINITY);
      await assertKept(last, acknowledged);
    }),
    { numRuns: 25, endOnFailure: true, examples: [[REMOVED_AND_BACK]] },
  );
});
