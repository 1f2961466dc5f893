import { randomBytes } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { callKey, FrameKind, NO_PAYLOAD, readMessage, WITNESS_FEATURE } from '@zerolatency/frame';
import type { DeviceIdentity } from '@zerolatency/identity';
import { type Checkpoint, claimedCheckpoint } from '@zerolatency/ledger/checkpoint';
import { proofText } from '@zerolatency/ledger/proof';
import { WitnessedSchema, WitnessSchema } from '@zerolatency/proto/witness';
import { counted } from '@zerolatency/service/counted';
import type { ComponentStatus } from '@zerolatency/service/lifecycle';
import type {
  DeviceConnection,
  DeviceRoute,
  DeviceRoutes,
} from '../executors/device/remote-call.ts';

export type WitnessRequestResult =
  | 'witnessed'
  | 'contradicted'
  /** It keeps none of this ledger, or answers with what this host did not sign. */
  | 'declined'
  | 'silent'
  /** Too many proofs are wanted at once. */
  | 'postponed';

export interface WitnessesOptions {
  readonly devices: DeviceRoutes;
  /** A note of what is on disk now; empty while nothing is recorded. */
  readonly newest: () => Promise<string>;
  /** What a note says that this host signed; undefined for any other. */
  readonly ownCheckpoint: (note: string) => Checkpoint | undefined;
  /** Rejects with ledger.corrupt where the ledger does not continue the earlier note. */
  readonly prove: (earlierNote: string, note: string) => Promise<string>;
  readonly onResult: (result: WitnessRequestResult) => void;
  readonly log: { error(fields: object, message: string): void };
}

const CALL_ID_BYTES = 16;
const ANSWER_MS = 5_000;
const CONCURRENT = 16;
/** Devices that were connected at the last round share one; each other reads the ledger from where it was. */
const MAX_PROOFS = 32;
/** Proofs take a tenth of the time at most, whatever devices claim to keep. */
const REST_FACTOR = 9;
/** For the status: more than a person reads. */
const MAX_CONTRADICTIONS = 16;

/** Has devices keep the newest checkpoint, where whoever can rewrite the ledger does not reach it. */
export class Witnesses {
  readonly #options: WitnessesOptions;
  /** By device. */
  readonly #contradictions = new Map<string, string>();
  #last: { readonly devices: number; readonly size: number; readonly at: Date } | undefined;

  constructor(options: WitnessesOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async ask(devices: readonly DeviceIdentity[]): Promise<void> {
    try {
      const note = await this.#options.newest();
      const size = claimedCheckpoint(note)?.size ?? 0;
      if (size === 0) return;
      const round = { note, prove: this.#proofs(note) };
      const rest = devices.values();
      let witnessed = 0;
      const askRest = async () => {
        for (const device of rest) if (await this.#askOne(device, round)) witnessed += 1;
      };
      await Promise.all(Array.from({ length: CONCURRENT }, askRest));
      if (witnessed > 0) this.#last = { devices: witnessed, size, at: new Date() };
    } catch (reason) {
      // Such as a ledger that has failed, which reports itself.
      const { id: errorId, message } = fromUnknown(reason);
      if (errorId === 'internal') {
        this.#options.log.error({ err: reason }, `devices cannot be asked to witness: ${message}`);
      }
    }
  }

  status(): ComponentStatus {
    const [contradiction] = this.#contradictions.values();
    if (contradiction !== undefined) return { status: 'degraded', detail: contradiction };
    if (this.#last === undefined) return { status: 'ok', detail: 'no device was asked yet' };
    const { devices, size, at } = this.#last;
    const kept = `${counted(size, 'record')} by ${counted(devices, 'device')}`;
    return { status: 'ok', detail: `${kept} at ${at.toISOString()}` };
  }

  /** Returns whether the device keeps the round's checkpoint now. */
  async #askOne(device: DeviceIdentity, round: Round): Promise<boolean> {
    const route = this.#options.devices.route(device.tenant, device.deviceId);
    const { connection } = route;
    // One that is gone is asked after its next call.
    if (!connection?.features.includes(WITNESS_FEATURE)) return false;
    const result = await this.#exchange({ device, route, connection }, round);
    this.#options.onResult(result);
    if (result === 'witnessed') this.#contradictions.delete(keyOf(device));
    return result === 'witnessed';
  }

  async #exchange(asked: Asked, { note, prove }: Round): Promise<WitnessRequestResult> {
    const { ownCheckpoint, newest } = this.#options;
    const answer = await exchange(asked, unproved(0, note));
    if (answer === undefined) return 'silent';
    if (answer === note) return 'witnessed';
    const held = ownCheckpoint(answer);
    const own = ownCheckpoint(note);
    if (held === undefined || held.ledgerId !== own?.ledgerId) return 'declined';
    let proof: string | undefined;
    try {
      // A client may have given it a later note than this one, but none ahead of the ledger.
      if (held.size > own.size) {
        const { size = 0 } = ownCheckpoint(await newest()) ?? {};
        if (held.size <= size) return 'declined';
        throw new ZlError('ledger.corrupt', `it has ${size}`);
      }
      proof = await prove(answer);
    } catch (reason) {
      if (!(reason instanceof ZlError) || reason.id !== 'ledger.corrupt') throw reason;
      this.#contradicted(asked.device, held.size, reason);
      // The device notices that the proof is missing, and keeps this note as evidence.
      await exchange(asked, unproved(held.size, note));
      return 'contradicted';
    }
    if (proof === undefined) return 'postponed';
    const kept = await exchange(asked, proof);
    if (kept === undefined) return 'silent';
    return kept === note ? 'witnessed' : 'declined';
  }

  #contradicted(device: DeviceIdentity, records: number, { message, help }: ZlError): void {
    const { deviceId, tenant } = device;
    const isNews = !this.#contradictions.has(keyOf(device));
    if (!isNews || this.#contradictions.size >= MAX_CONTRADICTIONS) return;
    const what = `device ${deviceId} of ${tenant} keeps a checkpoint over ${counted(records, 'record')}`;
    const why = `${what} that this ledger does not continue: ${message}`;
    this.#contradictions.set(keyOf(device), why);
    this.#options.log.error({ deviceId, tenant, records, help }, why);
  }

  /** Devices that keep the same note share its proof. Undefined when there are too many others. */
  #proofs(note: string): Round['prove'] {
    const proofs = new Map<string, Promise<string>>();
    let last: Promise<void> = Promise.resolve();
    const prove = async (earlier: string, before: Promise<void>, rested: () => void) => {
      await before;
      const startMs = performance.now();
      try {
        return await this.#options.prove(earlier, note);
      } finally {
        setTimeout(rested, (performance.now() - startMs) * REST_FACTOR).unref();
      }
    };
    return async (earlier) => {
      const known = proofs.get(earlier);
      if (known !== undefined || proofs.size >= MAX_PROOFS) return known;
      const { promise, resolve } = Promise.withResolvers<void>();
      const proof = prove(earlier, last, resolve);
      last = promise;
      proofs.set(earlier, proof);
      return proof;
    };
  }
}

interface Round {
  readonly note: string;
  readonly prove: (earlier: string) => Promise<string | undefined>;
}

interface Asked {
  readonly device: DeviceIdentity;
  readonly route: DeviceRoute;
  readonly connection: DeviceConnection;
}

/** Also the question what the device keeps: no checkpoint covers 0 records. */
function unproved(earlierSize: number, note: string): string {
  return proofText({ kind: 'consistency', earlierSize, hashes: [], note });
}

/** Resolves with the note that the device keeps now; undefined when it does not answer. */
async function exchange({ route, connection }: Asked, proof: string): Promise<string | undefined> {
  const callId = randomBytes(CALL_ID_BYTES);
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const { device, epoch } = connection;
  const send = (kind: FrameKind, payload: Uint8Array) =>
    route.send({ kind, flags: 0, device, callId, offset: 0, epoch, payload });
  const timer = setTimeout(() => {
    // The relay forgets its route for the answer.
    send(FrameKind.ACK, NO_PAYLOAD);
    resolve(undefined);
  }, ANSWER_MS);
  timer.unref();
  route.attach(callKey(callId), {
    onFrame: ({ kind, payload }) => {
      const isAnswer = kind === FrameKind.WITNESSED;
      resolve(isAnswer ? readMessage(WitnessedSchema, payload)?.checkpoint : undefined);
    },
    onRouteUp() {},
    onRouteLost: () => resolve(undefined),
  });
  send(FrameKind.WITNESS, toBinary(WitnessSchema, create(WitnessSchema, { proof })));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    route.detach(callKey(callId));
  }
}

function keyOf({ tenant, deviceId }: DeviceIdentity): string {
  return JSON.stringify([tenant, deviceId]);
}
