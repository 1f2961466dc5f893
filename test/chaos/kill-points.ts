import { readFileSync } from 'node:fs';
import { FrameKind } from '@zerolatency/frame';
import { eventually } from '@zerolatency/testing';
import type { Hop, Passing, Side } from './frame-tap.ts';
import type { Load, Stop } from './load.ts';
import type { Victim, World } from './world.ts';

/** Where a frame is when the process dies. */
type Fate =
  /** Its sender died before the network had it, or the network lost it. */
  | 'lost'
  /** In the kernel of its receiver, which is the victim and was stopped before. */
  | 'unread'
  | 'delivered';

interface FramePoint {
  readonly name: string;
  readonly hop: Hop;
  readonly from: Side;
  readonly kind: FrameKind;
  readonly fate: Fate;
}

interface ToolPoint {
  readonly name: string;
  readonly stopAt: Stop;
  /** The tool has answered, and the victim has not read it. */
  readonly isAnswered?: true;
}

export type KillPoint = FramePoint | ToolPoint;

const { CALL, DATA, OUTCOME, ACK } = FrameKind;
const toRelay = { hop: 'link', from: 'dialler' } as const;
const toHost = { hop: 'link', from: 'relay' } as const;
const toBridge = { hop: 'device', from: 'relay' } as const;
const fromBridge = { hop: 'device', from: 'dialler' } as const;

/** Ten points in the life of a call for each component, in their order. */
export const KILL_POINTS: Readonly<Record<Victim, readonly KillPoint[]>> = {
  host: [
    { name: 'intent durable, CALL not sent', ...toRelay, kind: CALL, fate: 'lost' },
    { name: 'CALL sent', ...toRelay, kind: CALL, fate: 'delivered' },
    { name: 'CALL at the bridge', ...toBridge, kind: CALL, fate: 'delivered' },
    { name: 'journalled, tool not begun', stopAt: 'received' },
    { name: 'tool running', stopAt: 'acted' },
    { name: 'part of the result received', ...toHost, kind: DATA, fate: 'delivered' },
    { name: 'OUTCOME on its way', ...toHost, kind: OUTCOME, fate: 'lost' },
    { name: 'OUTCOME arrived, not read', ...toHost, kind: OUTCOME, fate: 'unread' },
    { name: 'receipt durable, ACK not sent', ...toRelay, kind: ACK, fate: 'lost' },
    { name: 'ACK sent', ...toRelay, kind: ACK, fate: 'delivered' },
  ],
  relay: [
    { name: 'CALL arrived, not read', ...toRelay, kind: CALL, fate: 'unread' },
    { name: 'CALL read, not forwarded', ...toBridge, kind: CALL, fate: 'lost' },
    { name: 'CALL forwarded', ...toBridge, kind: CALL, fate: 'delivered' },
    { name: 'tool running', stopAt: 'acted' },
    { name: 'DATA arrived, not read', ...fromBridge, kind: DATA, fate: 'unread' },
    { name: 'DATA read, not forwarded', ...toHost, kind: DATA, fate: 'lost' },
    { name: 'OUTCOME arrived, not read', ...fromBridge, kind: OUTCOME, fate: 'unread' },
    { name: 'OUTCOME read, not forwarded', ...toHost, kind: OUTCOME, fate: 'lost' },
    { name: 'OUTCOME forwarded', ...toHost, kind: OUTCOME, fate: 'delivered' },
    { name: 'ACK read, not forwarded', ...toBridge, kind: ACK, fate: 'lost' },
  ],
  bridge: [
    { name: 'CALL on its way', ...toBridge, kind: CALL, fate: 'lost' },
    { name: 'CALL arrived, not read', ...toBridge, kind: CALL, fate: 'unread' },
    { name: 'journalled, tool not begun', stopAt: 'received' },
    { name: 'tool running', stopAt: 'acted' },
    { name: 'tool answered, not journalled', stopAt: 'acted', isAnswered: true },
    { name: 'result journalled, not sent', ...fromBridge, kind: DATA, fate: 'lost' },
    { name: 'DATA sent, OUTCOME not', ...fromBridge, kind: OUTCOME, fate: 'lost' },
    { name: 'OUTCOME sent', ...fromBridge, kind: OUTCOME, fate: 'delivered' },
    { name: 'ACK arrived, not read', ...toBridge, kind: ACK, fate: 'unread' },
    { name: 'ACK read', ...toBridge, kind: ACK, fate: 'delivered' },
  ],
};

/** A process that was killed at a point and has not been started again. */
export interface Struck {
  readonly pid: number;
  /** The index of the relay in its pool. */
  readonly pod: number;
}

const PROBE_TIMEOUT_MS = 30_000;

/** Kills the victim when a call next is at the point. */
export function strike(
  { world, load }: { readonly world: World; readonly load: Load },
  victim: Victim,
  point: KillPoint,
): Promise<Struck> {
  return 'stopAt' in point
    ? strikeInTool({ world, load }, victim, point)
    : strikeAtFrame(world, victim, point);
}

async function strikeAtFrame(world: World, victim: Victim, point: FramePoint): Promise<Struck> {
  const pids: number[] = [];
  for (let pod = 0; pod < (victim === 'relay' ? world.pods : 1); pod++) {
    pids.push(await world.pidOf(victim, pod));
  }
  const { promise, resolve } = Promise.withResolvers<Struck>();
  const isHit = ({ hop, from, frame }: Passing) =>
    hop === point.hop && from === point.from && frame.kind === point.kind;
  world.trap = (passing) => {
    if (!isHit(passing)) return undefined;
    world.trap = undefined;
    const pod = victim === 'relay' ? passing.pod : 0;
    const pid = pids[pod] ?? 0;
    return kill(world, { victim, pid, fate: point.fate, passing }).then(() => {
      resolve({ pid, pod });
    });
  };
  return await promise;
}

interface Killing {
  readonly victim: Victim;
  readonly pid: number;
  readonly fate: Fate;
  readonly passing: Passing;
}

async function kill(world: World, { victim, pid, fate, passing }: Killing): Promise<void> {
  if (fate === 'unread') process.kill(pid, 'SIGSTOP');
  if (fate !== 'lost') await passing.deliver();
  world.killNow(victim, pid);
}

async function strikeInTool(
  { world, load }: { readonly world: World; readonly load: Load },
  victim: Victim,
  { stopAt, isAnswered }: ToolPoint,
): Promise<Struck> {
  const seen = { pod: 0 };
  // The relay that passes the call on is the one to kill.
  world.trap = ({ hop, from, frame, pod }) => {
    if (hop === 'device' && from === 'relay' && frame.kind === CALL) seen.pod = pod;
    return undefined;
  };
  const { key, has } = await stopped({ world, load }, stopAt);
  world.trap = undefined;
  const pod = victim === 'relay' ? seen.pod : 0;
  const pid = await world.pidOf(victim, pod);
  if (isAnswered) {
    process.kill(pid, 'SIGSTOP');
    world.release(key);
    await eventually(() => has('answered'));
  }
  world.killNow(victim, pid);
  world.release(key);
  return { pid, pod };
}

/** A call that waits in the tool; one that ends before it gets there is followed by another. */
async function stopped({ world, load }: { world: World; load: Load }, stopAt: Stop) {
  for (;;) {
    const asked = load.begin({ stopAt });
    const { key } = asked;
    const has = (step: string) => readFileSync(world.counted, 'utf8').includes(`${step} ${key}\n`);
    await eventually(() => has(stopAt) || asked.endedMs > 0, { timeoutMs: PROBE_TIMEOUT_MS });
    if (has(stopAt)) return { key, has };
  }
}
