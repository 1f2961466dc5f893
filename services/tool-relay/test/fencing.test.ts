import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { FrameKind } from '@zerolatency/frame';
import { eventually, needsRedis } from '@zerolatency/testing';
import type { DeviceClient } from './device-client.ts';
import { type Pod, pool } from './pool.ts';

const CALLS = 50;

/** A bridge without a journal: only the epoch keeps it from running a call for two owners. */
class Effects {
  readonly #isFenced: boolean;
  readonly #runs = new Map<string, number>();
  #newestEpoch = 0;
  received = 0;

  constructor(isFenced: boolean) {
    this.#isFenced = isFenced;
  }

  attach(socket: DeviceClient): void {
    this.#newestEpoch = Math.max(this.#newestEpoch, socket.epoch);
    socket.onFrame = ({ kind, callId, epoch }) => {
      if (kind !== FrameKind.CALL) return;
      this.received += 1;
      if (this.#isFenced && epoch < this.#newestEpoch) return;
      const call = Buffer.from(callId).toString('hex');
      this.#runs.set(call, (this.#runs.get(call) ?? 0) + 1);
    };
  }

  /** How many calls ran this often. */
  ran(times: number): number {
    return [...this.#runs.values()].filter((runs) => runs === times).length;
  }
}

test(
  '[RLY-02] [RLY-08] two pods that both hold a device while Redis is away do not both run a call',
  needsRedis(),
  async (t) => {
    const { pods, network, enrolment } = await pool(t, { commandTimeout: '2s' });
    const [stalled, next] = pods as [Pod, Pod];
    network.refuse();
    network.cut();
    for (const { metrics } of pods) {
      await eventually(async () => /directory_degraded\{[^}]*\} 1/.test(await metrics()));
    }
    for (const isFenced of [true, false]) {
      const effects = new Effects(isFenced);
      const deviceId = isFenced ? 'fenced' : 'unfenced';
      const identity = await enrolment.device({ deviceId });
      const old = await stalled.clients.live(identity);
      effects.attach(old);
      const late = await stalled.clients.host();
      const before = await late.open('north', deviceId);
      // Nobody tells the first pod: it keeps the old socket and its lease.
      const current = await next.clients.live(identity);
      effects.attach(current);
      const host = await next.clients.host();
      const after = await host.open('north', deviceId);
      assert.ok(after.epoch > before.epoch);

      for (let call = 0; call < CALLS; call++) {
        const callId = randomBytes(16);
        const { CALL: kind } = FrameKind;
        late.send({ kind, device: before.handle, epoch: before.epoch, callId });
        host.send({ kind, device: after.handle, epoch: after.epoch, callId });
      }
      await eventually(() => effects.received === 2 * CALLS);
      assert.equal(old.closed, undefined);
      // Without the fence the same pods run every call twice, so the fence is what holds.
      assert.deepEqual([effects.ran(1), effects.ran(2)], isFenced ? [CALLS, 0] : [0, CALLS]);
    }
  },
);
