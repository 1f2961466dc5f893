import { create, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind, readMessage } from '@zerolatency/frame';
import { type Checkpoint, verifyCheckpoint } from '@zerolatency/ledger/checkpoint';
import { checkConsistency, parseProof } from '@zerolatency/ledger/proof';
import { WitnessedSchema, WitnessSchema } from '@zerolatency/proto/witness';
import { counted } from '@zerolatency/service/counted';
import { Bucket } from '@zerolatency/service/network';
import type { Verifier } from '@zerolatency/signing';
import type { Log } from '../ports.ts';

/** One ledger may be kept for each of the keys that signed for it. */
export interface WitnessedLedger {
  readonly keyid: string;
  readonly ledgerId: string;
}

export interface KeptCheckpoint extends WitnessedLedger {
  readonly checkpoint: Checkpoint;
  readonly note: string;
  readonly atMs: number;
  /** The first one that does not continue it: evidence until a person removes its file. */
  readonly refused?: { readonly checkpoint: Checkpoint; readonly file: string };
}

/** Keeps checkpoints over restarts of the machine. */
export interface CheckpointStore {
  readonly folder: string;
  list(): readonly KeptCheckpoint[];
  /** In place of an earlier one of the ledger. */
  keep(ledger: WitnessedLedger, checkpoint: Checkpoint, note: string): Promise<void>;
  /** Beside the one that is kept, unless there is one already; resolves with its file, if it is new. */
  refuse(
    ledger: WitnessedLedger,
    checkpoint: Checkpoint,
    note: string,
  ): Promise<string | undefined>;
}

export type WitnessResult =
  | 'kept'
  | 'known'
  /** The proof starts elsewhere; the answer says where it has to. */
  | 'asked'
  | 'older'
  | 'refused'
  | 'unknown_key'
  | 'full'
  | 'malformed'
  | 'busy'
  | 'failed';

export interface WitnessDeps {
  readonly store: CheckpointStore;
  readonly hostKeysDir: string;
  /** The keys of hosts whose ledgers are witnessed; rejects when they cannot be read. */
  readonly hostKeys: () => Promise<readonly Verifier[]>;
  readonly send: (frame: Frame) => void;
  readonly onResult: (result: WitnessResult) => void;
  readonly nowMs: () => number;
  readonly log: Log;
}

/** Origin, id, size, root and one signature; more would be signatures to check for nothing. */
const MAX_NOTE_CHARS = 2_048;
/** A host begins a new ledger when a person removes the old one. None is forgotten for another. */
const MAX_LEDGERS_PER_KEY = 16;
/** Each takes about a millisecond. A host asks once in ten seconds. */
const RATE = { burst: 64, perSecond: 8 };
/** Bounds what waits for a disk that has stopped. */
const MAX_WAITING = 16;
/** Hosts whose last request could not be granted, for the status. */
const MAX_FAULTS = 16;

/** Keeps the newest checkpoint of each host's ledger, as long as each continues the one before. */
export class Witness {
  readonly #deps: WitnessDeps;
  readonly #allowance: Bucket;
  /** By host. */
  readonly #faults = new Map<string, string>();
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(deps: WitnessDeps) {
    this.#deps = deps;
    this.#allowance = new Bucket(RATE, deps.nowMs());
  }

  /** Answers later, so that no call waits for it. `host` is empty where the relay names none. */
  hear(frame: Frame, host: string): void {
    if (this.#waiting >= MAX_WAITING || !this.#allowance.take(this.#deps.nowMs())) {
      this.#deps.onResult('busy');
      return;
    }
    // A copy: the request outlives the buffer of the frame.
    const payload = Uint8Array.from(frame.payload);
    this.#waiting += 1;
    this.#last = this.#last.then(async () => {
      this.#waiting -= 1;
      const checkpoint = await this.#answer(payload, host);
      const answer = toBinary(WitnessedSchema, create(WitnessedSchema, { checkpoint }));
      this.#deps.send({ ...frame, kind: FrameKind.WITNESSED, device: 0, payload: answer });
    });
  }

  status() {
    const kept = this.#deps.store.list();
    const why = [...kept.flatMap(contradiction), ...this.#faults.values()];
    return {
      state: why.length === 0 ? ('active' as const) : ('doubtful' as const),
      folder: this.#deps.store.folder,
      ledgers: kept.map(({ ledgerId, checkpoint: { origin, size }, atMs }) => {
        return { ledgerId, origin, records: size, at: new Date(atMs).toISOString() };
      }),
      ...(why.length > 0 && { why: why.join('; ') }),
    };
  }

  /** Resolves with the note that is kept of the ledger now. Never rejects. */
  async #answer(payload: Uint8Array, host: string): Promise<string> {
    let held: KeptCheckpoint | undefined;
    let result: WitnessResult = 'failed';
    let fault: string | undefined;
    try {
      const request = await this.#read(payload);
      if ('error' in request) {
        ({ error: result, why: fault } = request);
      } else {
        result = await this.#judge(request);
        held = this.#held(request);
        if (result === 'full') fault = fullText(request, this.#deps.store.folder);
      }
    } catch (reason) {
      fault = reason instanceof Error ? reason.message : String(reason);
    }
    this.#deps.onResult(result);
    this.#note(host, fault);
    return held?.note ?? '';
  }

  async #read(payload: Uint8Array): Promise<Request | BadRequest> {
    const proof = parseProof(readMessage(WitnessSchema, payload)?.proof ?? '');
    if (proof?.kind !== 'consistency' || proof.note.length > MAX_NOTE_CHARS) return MALFORMED;
    const keys = await this.#deps.hostKeys();
    for (const key of keys) {
      const { value: checkpoint } = verifyCheckpoint(proof.note, [key]);
      if (checkpoint === undefined) continue;
      const { ledgerId } = checkpoint;
      return { proof, key, checkpoint, ledger: { keyid: key.keyid, ledgerId } };
    }
    const unsigned = verifyCheckpoint(proof.note, keys);
    if (unsigned.error === undefined || unsigned.claimed === undefined) return MALFORMED;
    const { checkpoint, keyHashes } = unsigned.claimed;
    const who = `the checkpoints of ${checkpoint.origin} (key hash ${keyHashes.join(', ')})`;
    const why = `no key of ${this.#deps.hostKeysDir} signed ${who}: add the host's public key`;
    return { error: 'unknown_key', why };
  }

  async #judge(request: Request): Promise<WitnessResult> {
    const { ledger, checkpoint, proof, key } = request;
    const { store } = this.#deps;
    const held = this.#held(request);
    if (held === undefined) {
      const ofKey = store.list().filter(({ keyid }) => keyid === ledger.keyid);
      if (ofKey.length >= MAX_LEDGERS_PER_KEY) return 'full';
      await store.keep(ledger, checkpoint, proof.note);
      return 'kept';
    }
    const { checkpoint: earlier } = held;
    // A relay may repeat what a host sent before.
    if (checkpoint.size < earlier.size) return 'older';
    const isSameSize = checkpoint.size === earlier.size;
    if (!isSameSize && proof.earlierSize !== earlier.size) return 'asked';
    const start = isSameSize ? { ...proof, earlierSize: earlier.size, hashes: [] } : proof;
    const { error } = checkConsistency(start, { earlier, keys: [key] });
    if (error !== undefined) return this.#refuse(request, error);
    if (isSameSize) return 'known';
    await store.keep(ledger, checkpoint, proof.note);
    return 'kept';
  }

  async #refuse({ ledger, checkpoint, proof }: Request, why: string): Promise<'refused'> {
    const file = await this.#deps.store.refuse(ledger, checkpoint, proof.note);
    if (file === undefined) return 'refused';
    const { origin, ledgerId, size } = checkpoint;
    const fields = { origin, ledgerId, records: size, why, file };
    this.#deps.log.error(fields, `a host's ledger may have been rewritten: ${HELP}`);
    return 'refused';
  }

  #held({ ledger }: Request): KeptCheckpoint | undefined {
    const { keyid, ledgerId } = ledger;
    return this.#deps.store
      .list()
      .find((kept) => kept.keyid === keyid && kept.ledgerId === ledgerId);
  }

  /** Logged when it changes. */
  #note(host: string, fault: string | undefined): void {
    const before = this.#faults.get(host);
    this.#faults.delete(host);
    if (fault === undefined) return;
    if (this.#faults.size < MAX_FAULTS) this.#faults.set(host, fault);
    if (fault !== before)
      this.#deps.log.warn({ host, why: fault }, 'a checkpoint is not witnessed');
  }
}

interface Request {
  readonly proof: Extract<ReturnType<typeof parseProof>, { kind: 'consistency' }>;
  readonly key: Verifier;
  readonly checkpoint: Checkpoint;
  readonly ledger: WitnessedLedger;
}

interface BadRequest {
  readonly error: 'malformed' | 'unknown_key';
  readonly why?: string;
}

const MALFORMED: BadRequest = { error: 'malformed' };

const HELP =
  'hold it to both checkpoints with zl audit verify --witness, and remove the file of the refused one when that is settled';

function contradiction({ refused, checkpoint }: KeptCheckpoint): string[] {
  if (refused === undefined) return [];
  const { origin, ledgerId, size } = checkpoint;
  const what = `ledger ${ledgerId} of ${origin} may have been rewritten`;
  const how = `its checkpoint over ${counted(refused.checkpoint.size, 'record')} does not continue the one over ${size}`;
  return [`${what}: ${how}; ${HELP} (${refused.file})`];
}

function fullText({ ledger, checkpoint }: Request, folder: string): string {
  const count = `${MAX_LEDGERS_PER_KEY} ledgers of ${checkpoint.origin}`;
  return `${count} are witnessed, and ledger ${ledger.ledgerId} is not: remove the files of ledgers that are gone from ${folder}`;
}
