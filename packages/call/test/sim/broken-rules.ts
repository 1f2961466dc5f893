import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { CallSchema, NotSeenSchema, RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import type { Journal, JournalEntry } from '../../src/index.ts';
import { CLOCK_START_MS } from './timeline.ts';
import type { Variant } from './variant.ts';

/** Each breaks one rule of a call, from outside the machines, and nothing else. */
export const BROKEN_RULES: readonly (readonly [string, Partial<Variant>])[] = [
  [
    'rule 1: a call carries a time to live instead of an absolute deadline',
    {
      toDevice: (frame, { nowMs }) =>
        patch(frame, FrameKind.CALL, CallSchema, {
          deadlineUnixMs: BigInt(Math.round(CLOCK_START_MS + nowMs) + 5_000),
        }),
    },
  ],
  [
    'rule 2: a call of an older epoch is taken for one of now',
    { toDevice: (frame, { epoch = frame.epoch }) => ({ ...frame, epoch }) },
  ],
  [
    'rule 2: a call that the journal knows is run again',
    { journalFor: (disk) => journalLike(disk, { load: () => rowsOf(disk, 'dispatched') }) },
  ],
  [
    'rule 3: the tool acts before dispatched is persisted',
    { journalFor: (disk) => journalLike(disk, { dispatched: () => {} }) },
  ],
  [
    'rule 3: a tool with effects skips the fsync of dispatched',
    {
      journalFor: (disk) =>
        journalLike(disk, { dispatched: (entry) => disk.dispatched(entry, false) }),
    },
  ],
  [
    'rule 3: the outcome is told before it is persisted',
    {
      journalFor: (disk) => journalLike(disk, { finished: (entry) => disk.finished(entry, false) }),
    },
  ],
  [
    'rule 4: a restart forgets what was dispatched and has no outcome',
    { journalFor: (disk) => journalLike(disk, { load: () => rowsOf(disk, 'finished') }) },
  ],
  [
    'rule 5: entries are forgotten without a watermark',
    { journalFor: (disk) => journalLike(disk, { watermarkMs: 0 }) },
  ],
  [
    'rule 6: "not seen" from another journal lets the call be sent again',
    {
      routeFor: (route) => ({ ...route, journalId: FIRST_JOURNAL }),
      fromHost: (frame, { journalId }) => patch(frame, FrameKind.CALL, CallSchema, { journalId }),
      toHost: (frame) =>
        patch(frame, FrameKind.NOT_SEEN, NotSeenSchema, { journalId: FIRST_JOURNAL }),
    },
  ],
  [
    'rule 6: a refusal is taken for a promise that the call never ran',
    {
      toHost: (frame) =>
        patch(frame, FrameKind.REFUSED, RefusedSchema, { reason: RefusedReason.MALFORMED }),
    },
  ],
  ['rule 7: nobody watches the deadline', { hostTicks: false }],
  ['rule 7: an unknown outcome is retried', { retriesUnknown: true }],
  ['rule 8: the intent is recorded after the call was sent', { recordsIntentFirst: false }],
];

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
    ...change,
    get watermarkMs() {
      return change.watermarkMs ?? disk.watermarkMs;
    },
  };
}

function rowsOf(disk: Journal, state: JournalEntry['state']): JournalEntry[] {
  return [...disk.load()].filter((entry) => entry.state === state);
}
