// What a hop costs in reading, rewriting and writing a frame, against the generated codec.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  callKeyOf,
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameKind,
  isCanonical,
  setDevice,
} from '@zerolatency/frame';
import { FrameSchema } from '@zerolatency/proto/frame';
import { percentile, report } from './report.ts';

const ROUNDS = 15;
const FRAMES_A_ROUND = 30_000;

const frame: Frame = {
  kind: FrameKind.DATA,
  flags: 0,
  device: 7,
  callId: Uint8Array.from({ length: 16 }, (_, index) => index),
  offset: 65_536,
  epoch: 12,
  payload: new Uint8Array(200).fill(120),
};
const bytes = encodeFrame(frame);
const { offset, epoch, ...rest } = frame;
const fields = { ...rest, offset: BigInt(offset), epoch: BigInt(epoch) };

/** What each program did is added up here, so that none can be left out as useless. */
let spent = 0;

const programs = {
  encode: () => encodeFrame(frame).length,
  'generated encode': () => toBinary(FrameSchema, create(FrameSchema, fields)).length,
  decode: () => decodeFrame(bytes).frame?.payload.length ?? 0,
  'generated decode': () => fromBinary(FrameSchema, bytes).payload?.length ?? 0,
  route: () => {
    const key = isCanonical(bytes) ? callKeyOf(bytes) : '';
    setDevice(bytes, 9);
    return key.length + bytes.length;
  },
  'generated route': () => {
    const message = fromBinary(FrameSchema, bytes);
    message.device = 9;
    const key = Buffer.from(message.callId ?? []).toString('hex');
    return key.length + toBinary(FrameSchema, message).length;
  },
};

const samples = Object.entries(programs).map(([name, run]) => ({ name, run, ns: [] as number[] }));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const { run, ns } of samples) ns.push(measureNs(run));
}

report({
  name: 'frame',
  method: `200 B of payload, median of ${ROUNDS} rounds in turns, each of ${FRAMES_A_ROUND} frames`,
  figures: ['encode', 'decode', 'route'].map((name) => ({
    metric: name === 'route' ? 'find the call and rewrite the device' : `${name} a frame`,
    value: medianOf(name),
    unit: 'ns',
    baseline: medianOf(`generated ${name}`),
    goal: 0.5,
  })),
});
if (spent === 0) throw new Error('nothing was measured');

function measureNs(run: () => number): number {
  const started = process.hrtime.bigint();
  for (let count = 0; count < FRAMES_A_ROUND; count += 1) spent += run();
  return Number(process.hrtime.bigint() - started) / FRAMES_A_ROUND;
}

function medianOf(name: string): number {
  return percentile(samples.find((sample) => sample.name === name)?.ns ?? [], 0.5);
}
