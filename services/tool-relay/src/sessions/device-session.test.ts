import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextLoop } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { FrameKind } from '@zerolatency/frame';
import { HelloSchema, RedirectSchema } from '@zerolatency/proto/bridge';
import { frameBytes } from '@zerolatency/testing';
import fc from 'fast-check';
import { InMemorySocket } from '../../test/in-memory-socket.ts';
import { leaseOf, sharedParts } from '../../test/parts.ts';
import type { AcquiredLease, Lease, ReplacedLease } from '../directory/directory.ts';
import { LiveDevices } from '../routing/live-devices.ts';
import { DeviceSession, type SessionContext } from './device-session.ts';
import { SLOW } from './disconnect.ts';
import type { ProvedDevice } from './hello.ts';

const DEVICE = { tenant: 'north', deviceId: 'laptop', expiresAtMs: Number.MAX_SAFE_INTEGER };

function bytesOf(kind: number, payload: Uint8Array = new Uint8Array()): Buffer {
  return Buffer.from(frameBytes({ kind, payload }));
}

const helloBytes = (fields: { features?: string[]; noRedirect?: boolean } = {}) => {
  const hello = { journalId: new Uint8Array(16), bridgeVersion: '1', catalog: {}, ...fields };
  return bytesOf(FrameKind.HELLO, toBinary(HelloSchema, create(HelloSchema, hello)));
};

/** Sessions whose checks and leases the test answers. */
function sessions(settings: Record<string, unknown> = {}) {
  const parts = sharedParts(settings);
  const devices = new LiveDevices(parts.config.tenants, parts.clock.monotonicMs);
  const checks: ((verdict: ProvedDevice | { error: ZlError }) => void)[] = [];
  const leases: { give(lease: Lease, replaced?: ReplacedLease): void; fail(): void }[] = [];
  const released: number[] = [];
  const withdrawn: AcquiredLease[] = [];
  const directory: SessionContext['directory'] = {
    acquire: () =>
      new Promise((resolve, reject) => {
        leases.push({
          give: (lease, replaced) => resolve({ lease, replaced }),
          fail: () => reject(new Error('store is away')),
        });
      }),
    release: async ({ epoch }) => {
      released.push(epoch);
    },
    withdraw: async (acquired) => {
      withdrawn.push(acquired);
    },
    renew: async () => [],
  };
  const gone: boolean[] = [];
  const elsewhere: { url: string | undefined } = { url: undefined };
  const revoked = new Map<string, ZlError>();
  const open = () => {
    const socket = new InMemorySocket();
    const session = new DeviceSession(
      {
        ...parts,
        devices,
        directory,
        relayId: 'relay',
        shards: { elsewhere: () => elsewhere.url },
        revocations: { fault: (device) => revoked.get(device.deviceId) },
        limits: parts.config.devices,
        verifier: {
          verify: () => new Promise((resolve) => checks.push(resolve)),
          check: async () => DEVICE,
        },
      },
      { onLive: () => {}, onGone: (_session, wasLive) => gone.push(wasLive) },
    );
    session.onOpen(socket);
    return { session, socket };
  };
  return { parts, devices, checks, leases, released, withdrawn, gone, revoked, elsewhere, open };
}

const welcomed = ({ sent }: InMemorySocket) => sent.some((bytes) => bytes[1] === FrameKind.WELCOME);

test('[OPS-04] strangers write few lines into the log, and a live device always its own', async () => {
  const { parts, checks, leases, open } = sessions();
  let lines = 0;
  const write = () => {
    lines += 1;
  };
  Object.assign(parts, { log: { debug: write, info: write, warn: write, error: write } });
  for (let stranger = 0; stranger < 1000; stranger++) open().session.onMessage(Buffer.from('junk'));
  assert.ok(lines > 0 && lines <= 20, `${lines} lines`);
  const before = lines;
  const { session } = open();
  session.onMessage(helloBytes());
  checks[0]?.(DEVICE);
  await nextLoop();
  leases[0]?.give(leaseOf({ epoch: 1 }));
  await nextLoop();
  session.onMessage(Buffer.from('junk'));
  assert.equal(lines - before, 2);
});

test('[RLY-02] the connection with the larger epoch stays, in whatever order the leases arrive', async () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ] as const) {
    const { devices, checks, leases, open } = sessions();
    const both = [open(), open()] as const;
    for (const { session } of both) session.onMessage(helloBytes());
    for (const check of checks) check(DEVICE);
    await nextLoop();
    for (const index of order) {
      leases[index]?.give(leaseOf({ epoch: 10 + index }));
      await nextLoop();
    }
    assert.equal(both[0].session.state, 'gone');
    assert.deepEqual(both[0].socket.closed, { code: 4409, reason: 'device.superseded' });
    assert.equal(both[1].session.state, 'live');
    assert.equal(devices.find(DEVICE)?.epoch, 11);
    assert.equal(devices.size, 1);
    both[1].session.end(SLOW);
    assert.equal(devices.size, 0);
  }
});

const POD = 'wss://relay-7/v1/device';
const redirectsOf = (socket: InMemorySocket) =>
  socket
    .takeFrames()
    .filter(({ kind }) => kind === FrameKind.REDIRECT)
    .map(({ payload }) => fromBinary(RedirectSchema, payload).url);

test('[RLY-03] a device of another shard is redirected before it gets a lease', async () => {
  const { parts, checks, leases, elsewhere, devices, open } = sessions();
  elsewhere.url = POD;
  const { session, socket } = open();
  session.onMessage(helloBytes({ features: ['redirect'] }));
  checks[0]?.(DEVICE);
  await nextLoop();
  assert.deepEqual([redirectsOf(socket), leases.length, devices.size], [[POD], 0, 0]);
  assert.deepEqual([session.state, socket.closed], ['gone', { code: 1000, reason: '' }]);
  assert.deepEqual([parts.metrics.redirects, parts.metrics.ends], [['hello'], ['redirected']]);
});

for (const [what, fields] of Object.entries({
  'an older bridge': { features: ['progress'] },
  'a device that asks for it': { features: ['redirect'], noRedirect: true },
})) {
  test(`[RLY-03] ${what} is served where it lands`, async () => {
    const { checks, leases, elsewhere, open } = sessions();
    elsewhere.url = POD;
    const { session, socket } = open();
    session.onMessage(helloBytes(fields));
    checks[0]?.(DEVICE);
    await nextLoop();
    leases[0]?.give(leaseOf({ epoch: 1, features: fields.features }));
    await nextLoop();
    assert.deepEqual([session.state, redirectsOf(socket)], ['live', []]);
    assert.equal(session.movable === undefined, what === 'an older bridge');
  });
}

test('[RLY-03] a live device that is told to move is served until it goes, and its hosts look it up', async () => {
  const { parts, checks, leases, open } = sessions();
  const { session, socket } = open();
  session.onMessage(helloBytes({ features: ['redirect'] }));
  checks[0]?.(DEVICE);
  await nextLoop();
  leases[0]?.give(leaseOf({ epoch: 1, features: ['redirect'] }));
  await nextLoop();
  session.move(POD);
  assert.deepEqual([session.state, redirectsOf(socket)], ['live', [POD]]);
  session.onEnd('closed');
  assert.deepEqual(parts.metrics.redirects, ['live', 'moved']);
  assert.deepEqual(parts.metrics.ends, ['disconnected']);
});

test('a device is refused while the directory is unreachable, and may retry', async () => {
  const { checks, leases, open, gone } = sessions();
  const { session, socket } = open();
  session.onMessage(helloBytes());
  checks[0]?.(DEVICE);
  await nextLoop();
  leases[0]?.fail();
  await nextLoop();
  assert.deepEqual(socket.closed, { code: 1011, reason: 'internal' });
  assert.deepEqual(gone, [false]);
});

test('[RLY-01] devices whose hellos arrive together share the limit of their tenant', async () => {
  const { devices, checks, leases, open } = sessions({ 'tenants.maxDevices': 1 });
  const both = [open(), open()] as const;
  for (const { session } of both) session.onMessage(helloBytes());
  checks.forEach((check, index) => {
    check({ ...DEVICE, deviceId: `laptop-${index}` });
  });
  await nextLoop();
  // The second must not take the lease that its socket on another pod has.
  assert.equal(leases.length, 1);
  leases[0]?.give(leaseOf({ deviceId: 'laptop-0' }));
  await nextLoop();
  assert.deepEqual([both[0].session.state, both[1].session.state], ['live', 'gone']);
  assert.deepEqual(both[1].socket.closed, { code: 4429, reason: 'limit.exceeded' });
  assert.equal(devices.size, 1);
});

test('[RLY-01] room that waits for a lease is free again when its device leaves or gets none', async () => {
  const { checks, leases, open } = sessions({ 'tenants.maxDevices': 1 });
  const arrive = async () => {
    const arrived = open();
    arrived.session.onMessage(helloBytes());
    checks.shift()?.({ ...DEVICE, deviceId: `laptop-${leases.length}` });
    await nextLoop();
    return arrived;
  };
  const { session } = await arrive();
  session.onEnd('closed');
  leases[0]?.give(leaseOf({ deviceId: 'laptop-0' }));
  await nextLoop();
  await arrive();
  leases[1]?.fail();
  await nextLoop();
  const { socket } = await arrive();
  leases[2]?.give(leaseOf({ deviceId: 'laptop-2' }));
  await nextLoop();
  assert.ok(welcomed(socket));
});

test('[RLY-02] a socket that dies while it waits for its lease gives the lease back to the socket before it', async () => {
  const { devices, checks, leases, released, withdrawn, open } = sessions();
  const earlier = open();
  earlier.session.onMessage(helloBytes());
  checks[0]?.(DEVICE);
  await nextLoop();
  leases[0]?.give(leaseOf({ epoch: 5 }));
  await nextLoop();
  const later = open();
  later.session.onMessage(helloBytes());
  checks[1]?.(DEVICE);
  await nextLoop();
  later.session.onEnd('closed');
  const acquired = leaseOf({ epoch: 6 });
  const pod = { relayId: 'relay', linkUrl: 'wss://relay/v1/link', rpcUrl: 'https://relay' };
  const replaced = { epoch: 5, entry: { ...leaseOf({ epoch: 5 }), ...pod }, expiresAtMs: 1 };
  leases[1]?.give(acquired, replaced);
  await nextLoop();
  assert.deepEqual(withdrawn, [{ lease: acquired, replaced }]);
  assert.deepEqual(released, []);
  assert.equal(earlier.session.state, 'live');
  assert.equal(devices.find(DEVICE)?.epoch, 5);
});

test('[BRG-04] a device that is revoked while it waits for its lease does not become live', async () => {
  const { devices, checks, leases, withdrawn, revoked, open } = sessions();
  const { session, socket } = open();
  session.onMessage(helloBytes());
  checks[0]?.(DEVICE);
  await nextLoop();
  revoked.set('laptop', new ZlError('device.revoked', 'laptop was revoked'));
  leases[0]?.give(leaseOf({ epoch: 1 }));
  await nextLoop();
  assert.deepEqual(socket.closed, { code: 4403, reason: 'device.revoked' });
  assert.deepEqual([devices.size, withdrawn.length], [0, 1]);
});

type Step =
  | 'hello'
  | 'garbage'
  | 'frame'
  | 'holds'
  | 'fails'
  | 'lease'
  | 'no lease'
  | 'end'
  | 'beat'
  | 'drain'
  | 'cut';

const step: fc.Arbitrary<Step> = fc.constantFrom(
  ...(['hello', 'hello', 'holds', 'holds', 'lease', 'lease', 'frame', 'garbage'] as const),
  ...(['fails', 'no lease', 'end', 'beat', 'drain', 'cut'] as const),
);

test('[RLY-01] in any order of events, a session is welcomed only after a valid proof, ends once and keeps no lease', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14, size: 'max' }), async (steps) => {
      const world = sessions();
      const { checks, leases, released, withdrawn, gone, devices } = world;
      const { session, socket } = world.open();
      let proofHeld = false;
      let given = 0;
      const act: Record<Step, () => void> = {
        hello: () => session.onMessage(helloBytes()),
        garbage: () => session.onMessage(Buffer.from('garbage')),
        frame: () => session.onMessage(bytesOf(FrameKind.DATA)),
        holds: () => {
          proofHeld ||= session.state === 'challenged' && checks.length > 0;
          checks.shift()?.(DEVICE);
        },
        fails: () => {
          const error = new ZlError('device.credential_invalid', 'no');
          checks.shift()?.({ error });
        },
        lease: () => {
          const waiting = leases.shift();
          if (waiting === undefined) return;
          given += 1;
          waiting.give(leaseOf({ epoch: given }));
        },
        'no lease': () => leases.shift()?.fail(),
        end: () => session.onEnd('closed'),
        beat: () => session.beat(),
        drain: () => session.drain(1000),
        cut: () => session.cut('slow'),
      };
      for (const name of steps) {
        // An engine reports nothing about a socket that we have closed.
        if (socket.closed !== undefined && ['hello', 'garbage', 'frame', 'end'].includes(name)) {
          continue;
        }
        act[name]();
        await nextLoop();
      }
      if (welcomed(socket)) assert.ok(proofHeld);
      assert.equal(devices.size, session.state === 'live' || session.state === 'draining' ? 1 : 0);
      if (session.state !== 'gone') session.end(SLOW);
      await nextLoop();
      assert.equal(gone.length, 1);
      assert.equal(devices.size, 0);
      assert.equal(released.length + withdrawn.length, given);
    }),
    { numRuns: 300 },
  );
});

test('[RLY-01] a device that is not read is not silent', async () => {
  const { checks, leases, parts, open } = sessions({ 'devices.framesPerSecond': 1 });
  const { session, socket } = open();
  socket.canPause = true;
  session.onMessage(helloBytes());
  checks[0]?.(DEVICE);
  await nextLoop();
  leases[0]?.give(leaseOf({ epoch: 1 }));
  await nextLoop();
  session.onMessage(bytesOf(FrameKind.DATA));
  assert.equal(socket.isPaused, false);
  session.onMessage(bytesOf(FrameKind.DATA));
  assert.equal(socket.isPaused, true);
  for (let beat = 0; beat < 10; beat++) session.beat();
  assert.deepEqual([session.state, socket.pings], ['live', 10]);
  parts.clock.nowMs += 500;
  session.cut('revoked');
  assert.equal(parts.metrics.pausedMs.device, 500);
});
