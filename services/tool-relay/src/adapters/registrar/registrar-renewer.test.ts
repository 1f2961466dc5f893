import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RegistrarClient } from '@zerolatency/revocations';
import { Backoff } from '@zerolatency/service/backoff';
import { registrarRenewer } from './registrar-renewer.ts';

/** How bridges try again. */
const RETRY = { minMs: 15_000, maxMs: 600_000 };
const STEP_MS = 1_000;

/** A pod that passes renewals on, to a registrar that gives every one, in the time of the test. */
function pod() {
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs };
  const renew = async () => ({ credential: 'next' });
  const rpc = { renew } as unknown as RegistrarClient['rpc'];
  let asking = '';
  const renewer = registrarRenewer({
    client: { rpc } as unknown as RegistrarClient,
    verifier: { check: async () => ({ tenant: asking, deviceId: '', expiresAtMs: 0 }) },
    clock,
  });
  const ask = (tenant: string) => {
    asking = tenant;
    const request = { credential: 'one', proof: 'proof' };
    return renewer.renew(request, { tenant, deviceId: '' }).then(
      () => true,
      () => false,
    );
  };
  return { clock, ask };
}

/** Devices that are all due at once. Returns when the last one was renewed, and how often they asked. */
async function rush(
  { clock, ask }: ReturnType<typeof pod>,
  { tenant, devices, withinMs, flood = async () => {} }: Rush,
) {
  const waiting = Array.from({ length: devices }, () => ({
    backoff: new Backoff(RETRY),
    dueMs: 0,
  }));
  let asked = 0;
  const left = new Set(waiting);
  while (left.size > 0 && clock.nowMs < withinMs) {
    await flood();
    for (const device of left) {
      if (device.dueMs > clock.nowMs) continue;
      asked += 1;
      if (await ask(tenant)) left.delete(device);
      else device.dueMs = clock.nowMs + device.backoff.nextMs();
    }
    clock.nowMs += STEP_MS;
  }
  return { left: left.size, lastMs: clock.nowMs, perDevice: asked / devices };
}

interface Rush {
  readonly tenant: string;
  readonly devices: number;
  readonly withinMs: number;
  readonly flood?: () => Promise<void>;
}

/** What is left of a credential of 24 h when it is due. */
const HALF_LIFE_MS = 12 * 3_600_000;

test('[BRG-04] 10,000 devices that are due at once renew long before they expire', async (t) => {
  const withinMs = HALF_LIFE_MS;
  const { left, lastMs, perDevice } = await rush(pod(), { tenant: 'a', devices: 10_000, withinMs });
  assert.equal(left, 0);
  t.diagnostic(`all after ${lastMs / 60_000} min, ${perDevice} attempts each`);
  assert.ok(lastMs < HALF_LIFE_MS / 4, `${lastMs} ms`);
  assert.ok(perDevice < 20, `${perDevice} attempts`);
});

test('[BRG-04] devices of a tenant renew while those of another one ask without end', async (t) => {
  const world = pod();
  // 5,000 devices, each as often as its relay lets it.
  const flood = async () => {
    for (let each = 0; each < 333; each++) await world.ask('hostile');
  };
  const honest = { tenant: 'honest', devices: 2_000, withinMs: HALF_LIFE_MS, flood };
  const { left, lastMs } = await rush(world, honest);
  assert.equal(left, 0);
  t.diagnostic(`all after ${lastMs / 60_000} min`);
  assert.ok(lastMs < HALF_LIFE_MS / 4, `${lastMs} ms`);
});
