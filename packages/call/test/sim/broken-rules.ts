import {
  create,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { CallSchema, NotSeenSchema, OutcomeSchema, OutcomeStatus } from '@zerolatency/proto/call';
import type { Journal, JournalEntry } from '../../src/index.ts';
import type { Fault } from './schedule.ts';
import type { Variant } from './variant.ts';

export interface BrokenRule {
  readonly rule: number;
  readonly how: string;
  /** What the properties must say of it. */
  readonly lie: RegExp;
  /** The kinds of fault that must meet, where all kinds together would take too many worlds. */
  readonly faults?: readonly Fault[];
  readonly variant: Partial<Variant>;
  /** The world that the rule protects, where it is not the present one. */
  readonly world?: Partial<Variant>;
}

/** A host of release 0.1.0 takes every "not seen" of the call's journal as proof. */
const EARLIER_HOST: Partial<Variant> = {
  toHost: (frame) => patch(frame, FrameKind.NOT_SEEN, NotSeenSchema, { epochs: [] }),
};

/** Each breaks one rule of a call, from outside the machines, and nothing else. */
export const BROKEN_RULES: readonly BrokenRule[] = [
  {
    rule: 1,
    how: 'a call carries a time to live instead of a deadline',
    lie: /^ran /,
    variant: {
      toDevice: (frame, { deviceMs }) =>
        patch(frame, FrameKind.CALL, CallSchema, {
          timeLeftMs: 5_000n,
          sentJournalMs: BigInt(deviceMs),
          journalDeadlineMs: BigInt(deviceMs + 5_000),
        }),
    },
  },
  {
    rule: 1,
    how: 'the time of a call runs from its arrival',
    lie: /^began after its deadline/,
    variant: {
      toDevice: (frame, { deviceMs }) =>
        patch(frame, FrameKind.CALL, CallSchema, { sentJournalMs: BigInt(deviceMs) }),
    },
  },
  {
    rule: 1,
    how: "a deadline is stated by the caller's clock",
    lie: /^could be \w+ and is|^began after its deadline/,
    variant: {
      fromHost: (frame) =>
        patch(frame, FrameKind.CALL, CallSchema, { journalDeadlineMs: 0n, timeLeftMs: 0n }),
    },
  },
  {
    rule: 2,
    how: "a deadline is compared with the device's time of day",
    lie: /^could be \w+ and is|^began after its deadline/,
    variant: { isClockSteady: false },
  },
  {
    rule: 2,
    how: 'a call of an older epoch is accepted as current',
    lie: /^ran after it had ended/,
    variant: { toDevice: (frame, { epoch = frame.epoch }) => ({ ...frame, epoch }) },
  },
  {
    rule: 2,
    how: 'a call in the journal is dispatched again',
    lie: /^ran twice/,
    variant: { journalFor: (disk) => journalLike(disk, { load: () => without(disk, 'finished') }) },
  },
  {
    rule: 2,
    how: 'a call begins without a look at the clock',
    lie: /^began after its deadline/,
    variant: { beginsAt: () => Number.NEGATIVE_INFINITY },
  },
  {
    rule: 3,
    how: 'the tool acts before dispatched is persisted',
    lie: /^ran twice/,
    variant: { journalFor: (disk) => journalLike(disk, { dispatched: () => {} }) },
  },
  {
    rule: 3,
    how: 'a tool with effects skips the fsync, before a host of release 0.1.0',
    lie: /^ran twice/,
    world: EARLIER_HOST,
    variant: {
      journalFor: (disk) =>
        journalLike(disk, { dispatched: (entry) => disk.dispatched(entry, false) }),
    },
  },
  {
    rule: 3,
    how: 'an outcome is reported before it is on disk',
    lie: /^was reported with two outcomes/,
    variant: {
      journalFor: (disk) => journalLike(disk, { finished: (entry) => disk.finished(entry, false) }),
    },
  },
  {
    rule: 3,
    how: 'a tool acts although a full disk took no entry',
    lie: /^ran twice/,
    variant: {
      journalFor: (disk) =>
        journalLike(disk, {
          dispatched: (entry, durable) => ignoreFull(() => disk.dispatched(entry, durable)),
        }),
    },
  },
  {
    rule: 3,
    how: 'an outcome is reported although a full disk did not take it',
    lie: /^was reported with two outcomes/,
    variant: {
      journalFor: (disk) =>
        journalLike(disk, {
          finished: (entry, durable) => ignoreFull(() => disk.finished(entry, durable)),
        }),
    },
  },
  {
    rule: 4,
    how: 'a restart forgets dispatched calls without an outcome',
    lie: /^ran twice/,
    variant: {
      journalFor: (disk) => journalLike(disk, { load: () => without(disk, 'dispatched') }),
    },
  },
  {
    rule: 5,
    how: 'entries are forgotten without a watermark',
    lie: /^ran /,
    // The clock is ahead after a restart, and the caller is cut off until the entry is forgotten.
    faults: ['clock', 'restart', 'cut'],
    variant: { journalFor: (disk) => journalLike(disk, { watermarkMs: 0 }) },
  },
  {
    rule: 6,
    how: '"not seen" from another journal lets the call be sent again',
    lie: /^ran twice/,
    variant: {
      routeFor: (route) => ({ ...route, journalId: FIRST_JOURNAL }),
      fromHost: (frame, { journalId }) => patch(frame, FrameKind.CALL, CallSchema, { journalId }),
      toHost: (frame) =>
        patch(frame, FrameKind.NOT_SEEN, NotSeenSchema, { journalId: FIRST_JOURNAL }),
    },
  },
  {
    rule: 6,
    how: '"not seen" counts whatever the journal has lost',
    lie: /^ran twice/,
    variant: EARLIER_HOST,
  },
  {
    rule: 6,
    how: 'a journal counts as complete after a run that did not end cleanly',
    lie: /^ran twice/,
    variant: { journalFor: (disk) => journalLike(disk, { completeEpochs: EVERY_EPOCH }) },
  },
  {
    rule: 2,
    how: 'a bridge that moves serves both sockets, each with a callee',
    lie: /^ran twice/,
    faults: ['hand-over', 'delay', 'repeat'],
    variant: { servesBothSockets: true },
  },
  {
    rule: 6,
    how: 'a bridge that moves forgets under which epochs it lost nothing',
    lie: /^could be done and is unknown/,
    faults: ['hand-over', 'lose'],
    variant: {
      toHost: (frame, { epoch = 0 }) =>
        patch(frame, FrameKind.NOT_SEEN, NotSeenSchema, { epochs: [BigInt(epoch)] }),
    },
  },
  {
    rule: 6,
    how: 'a refusal is taken as proof that the call never ran',
    lie: /^ended as failed, .*, though it ran/,
    variant: {
      toHost: (frame) =>
        frame.kind === FrameKind.REFUSED ? { ...frame, ...FAILED_WITHOUT_RUNNING } : frame,
    },
  },
  {
    rule: 7,
    how: 'nobody watches the deadline',
    lie: /^was sent and has no outcome/,
    variant: { hostTicks: false },
  },
  {
    rule: 7,
    how: 'an unknown outcome is retried',
    lie: /^ran again under another id/,
    variant: { retriesUnknown: true },
  },
  {
    rule: 8,
    how: 'the intent is recorded after the call is sent',
    lie: /^ran without an intent/,
    variant: { recordsIntentFirst: false },
  },
];

const FAILED_WITHOUT_RUNNING = {
  kind: FrameKind.OUTCOME,
  offset: 0,
  payload: toBinary(
    OutcomeSchema,
    create(OutcomeSchema, { status: OutcomeStatus.FAILED, errorId: 'tool.failed' }),
  ),
};

const EVERY_EPOCH = Array.from({ length: 30 }, (_, epoch) => epoch);

/** The id that a device's first journal gets. */
const FIRST_JOURNAL = Buffer.alloc(16, 1);

function patch<Desc extends DescMessage>(
  frame: Frame,
  kind: FrameKind,
  schema: Desc,
  change: Partial<MessageShape<Desc>>,
): Frame {
  if (frame.kind !== kind) return frame;
  const message = Object.assign(fromBinary(schema, frame.payload), change);
  return { ...frame, payload: toBinary(schema, message) };
}

function journalLike(disk: Journal, change: Partial<Journal>): Journal {
  return {
    id: disk.id,
    load: () => disk.load(),
    dispatched: (entry, durable) => disk.dispatched(entry, durable),
    finished: (entry, durable) => disk.finished(entry, durable),
    acknowledged: (callId) => disk.acknowledged(callId),
    forget: (watermarkMs) => disk.forget(watermarkMs),
    complete: (epochs) => disk.complete(epochs),
    ...change,
    get completeEpochs() {
      return change.completeEpochs ?? disk.completeEpochs;
    },
    get watermarkMs() {
      return change.watermarkMs ?? disk.watermarkMs;
    },
  };
}

function ignoreFull(write: () => void): void {
  try {
    write();
  } catch (reason) {
    // A planned death goes on.
    if (!(reason instanceof ZlError)) throw reason;
  }
}

function without(disk: Journal, state: JournalEntry['state']): JournalEntry[] {
  return [...disk.load()].filter((entry) => entry.state !== state);
}
