import { fromBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { OutcomeSchema, type RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { CallerSender } from '../src/caller-sender.ts';
import { Callee, type CalleeLimits, MemoryJournal, requestDigest } from '../src/index.ts';

export const JOURNAL_ID = Buffer.alloc(16, 1);
export const request = {
  callId: '',
  deadlineMs: 10_000,
  server: 'fs',
  method: 'tools/call',
  params: Buffer.from('{}'),
  argumentSalt: Buffer.alloc(16, 3),
  maxBytes: 300_000,
  bundleDigest: Buffer.alloc(32),
  principal: { tenant: 'north', user: 'user-1', roles: [] },
  traceparent: '',
};

export function setUp(
  limits: Partial<CalleeLimits> = {},
  journal = new MemoryJournal(JOURNAL_ID),
  signing?: (() => void)[],
  startMs = 0,
) {
  const sent: Frame[] = [];
  const log: string[] = [];
  const callee = new Callee(
    journal,
    {
      send: (frame) => sent.push(frame),
      dispatch: ({ callId }) => log.push(`dispatch ${callId.slice(-1)}`),
      abort: (callId, reason) => log.push(`abort ${callId.slice(-1)} ${reason}`),
      seal: ({ callId }, { status }) => {
        const sign = () =>
          callee.sealed(callId, { receipt: Buffer.from(status), deviceUs: 1.4, serverUs: 0 });
        if (signing === undefined) sign();
        else signing.push(sign);
      },
    },
    limits,
  );
  callee.recover(startMs);
  callee.attached(5);
  const said = () => sent.map(({ kind }) => FrameKind[kind]);
  return { callee, journal, sent, log, said };
}

export const at = (nowMs: number) => () => nowMs;
export const idOf = (call: number) => call.toString(16).padStart(32, '0');

/** What a caller would send of that call. */
export function lineOf(call: number, send: (frame: Frame) => void, journalId = JOURNAL_ID) {
  const callId = idOf(call);
  const line = new CallerSender({ callId, digest: requestDigest(request) }, send);
  line.bind(journalId);
  line.take({ device: 0, epoch: 5, journalId });
  return line;
}

export function callTo(callee: Callee, call: number, change: Partial<typeof request> = {}) {
  const line = lineOf(call, (frame) => callee.frame(frame, 1));
  line.call({ ...request, callId: idOf(call), ...change }, 1_000_000, 1);
  return line;
}

export function lastRefusal(sent: Frame[]): RefusedReason {
  return fromBinary(RefusedSchema, sent.at(-1)?.payload ?? Buffer.of()).reason;
}

export function lastOutcome(sent: Frame[]) {
  const frame = sent.findLast(({ kind }) => kind === FrameKind.OUTCOME);
  return fromBinary(OutcomeSchema, frame?.payload ?? Buffer.of());
}
