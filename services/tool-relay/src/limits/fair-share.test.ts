import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { FairShares, type Sender, type TenantShare } from './fair-share.ts';

const SMALL_BYTES = 200;

function world() {
  let nowMs = 0;
  const shares = new FairShares(() => nowMs);
  const passed: string[] = [];
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { shares, passed, pass };
}

/** A device as a live session holds its frames. */
class Device implements Sender {
  readonly held: number[] = [];
  resumed = 0;
  #next = 0;
  readonly #name: string;
  readonly #share: TenantShare;
  readonly #passed: string[];

  constructor(name: string, share: TenantShare, passed: string[]) {
    this.#name = name;
    this.#share = share;
    this.#passed = passed;
  }

  send(count: number, bytes = SMALL_BYTES): void {
    for (let n = 0; n < count; n++) {
      const nth = this.#next++;
      if (this.held.length === 0 && this.#share.takeFrame(bytes)) {
        this.#passed.push(`${this.#name}${nth}`);
      } else {
        this.held.push(nth);
        this.#share.hold(this, bytes);
      }
    }
  }

  passNext(): number | undefined {
    const nth = this.held.shift();
    if (nth === undefined) return undefined;
    this.#passed.push(`${this.#name}${nth}`);
    this.#share.released(SMALL_BYTES);
    return SMALL_BYTES;
  }

  resume(): boolean {
    this.resumed += 1;
    return true;
  }
}

const sentBy = (name: string, passed: readonly string[]) =>
  passed.filter((frame) => frame.startsWith(name)).map((frame) => Number(frame.slice(name.length)));

test('[RLY-03] a tenant that is active alone is not held up', async () => {
  const { shares, passed } = world();
  const device = new Device('a', shares.tenant(), passed);
  device.send(10_000);
  assert.deepEqual([passed.length, device.held.length], [10_000, 0]);
});

test('[RLY-03] a frame waits for no more than a quantum of a tenant that floods', async () => {
  const { shares, passed } = world();
  const flooding = new Device('a', shares.tenant(), passed);
  const quiet = new Device('b', shares.tenant(), passed);
  quiet.send(1);
  for (let round = 0; round < 50; round++) {
    const before = passed.length;
    flooding.send(200);
    quiet.send(1);
    await turn();
    const ahead = passed.slice(before).findIndex((frame) => frame.startsWith('b'));
    assert.ok(ahead >= 0 && ahead <= 32, `${ahead} frames`);
  }
  assert.deepEqual(
    sentBy('b', passed),
    Array.from({ length: 51 }, (_, n) => n),
  );
});

test('[RLY-03] tenants that flood share what the pod passes on by their weights', async () => {
  const { shares, passed } = world();
  const devices = ([1, 1, 3] as const).map(
    (weight, n) => new Device('abc'.charAt(n), shares.tenant(weight), passed),
  );
  for (const count of [1, 5_000]) for (const device of devices) device.send(count);
  passed.length = 0;
  for (let n = 0; n < 400; n++) await turn();
  const [a = 0, b = 0, c = 0] = ['a', 'b', 'c'].map((name) => sentBy(name, passed).length);
  assert.ok(a > 0 && Math.abs(a - b) <= 32, `${a} and ${b}`);
  assert.ok(c > 2.7 * a && c < 3.3 * a, `${c} for ${a}`);
});

test('[RLY-03] devices of a tenant that waits are served in turns, and read again once theirs is passed on', async () => {
  const { shares, passed } = world();
  const tenant = shares.tenant();
  const packed = new Device('a', tenant, passed);
  const small = new Device('b', tenant, passed);
  new Device('c', shares.tenant(), passed).send(1);
  packed.send(1_000);
  small.send(5);
  for (let n = 0; n < 2; n++) await turn();
  assert.deepEqual([sentBy('b', passed).length, small.resumed, packed.resumed], [5, 1, 0]);
  for (let n = 0; n < 100; n++) await turn();
  assert.deepEqual([sentBy('a', passed).length, packed.resumed], [1_000, 1]);
});

test('[RLY-03] a tenant waits for nobody once the others have been silent', async () => {
  const { shares, passed, pass } = world();
  const device = new Device('a', shares.tenant(), passed);
  new Device('b', shares.tenant(), passed).send(1);
  device.send(100);
  assert.ok(device.held.length > 0);
  for (let n = 0; n < 20; n++) await turn();
  pass(2_500);
  device.send(1_000);
  assert.deepEqual([sentBy('a', passed).length, device.held.length], [1_100, 0]);
});

test('[RLY-03] what is held is bounded', async () => {
  const { shares, passed } = world();
  const share = shares.tenant();
  const device = new Device('a', share, passed);
  new Device('b', shares.tenant(), passed).send(1);
  assert.ok(share.mayHold);
  device.send(40, 512 * 1024);
  assert.equal(share.mayHold, false);
  for (let n = 0; n < 40; n++) share.released(512 * 1024);
  assert.ok(share.mayHold);
});

test('[RLY-03] whatever tenants send and leave, frames keep their order and none is lost', async () => {
  const act = fc.record({
    device: fc.nat(5),
    count: fc.nat(40),
    turns: fc.nat(3),
    passMs: fc.constantFrom(0, 0, 0, 700, 2_500),
  });
  const { shares, passed, pass } = world();
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      passed.length = 0;
      const tenants = [shares.tenant(), shares.tenant(2), shares.tenant()];
      const devices = Array.from(
        { length: 6 },
        (_, n) => new Device('abcdef'.charAt(n), tenants[n % 3]!, passed),
      );
      const sent = devices.map(() => 0);
      for (const { device, count, turns, passMs } of acts) {
        devices[device]!.send(count);
        sent[device]! += count;
        for (let n = 0; n < turns; n++) await turn();
        pass(passMs);
      }
      for (let n = 0; n < 400; n++) await turn();
      devices.forEach((device, n) => {
        const numbers = sentBy('abcdef'.charAt(n), passed);
        assert.deepEqual(
          numbers,
          Array.from({ length: sent[n]! }, (_, nth) => nth),
        );
        assert.equal(device.held.length, 0);
      });
    }),
    { numRuns: 25 },
  );
});
