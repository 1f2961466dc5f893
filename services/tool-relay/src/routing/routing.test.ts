import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { callKey, FrameKind, HOSTS_FEATURE } from '@zerolatency/frame';
import { HostSchema } from '@zerolatency/proto/bridge';
import { RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { OpenSchema } from '@zerolatency/proto/link';
import type { FrameFields } from '@zerolatency/testing';
import fc from 'fast-check';
import { ADDRESSES, callIds, frameBuffer, oneCall, switchboard } from '../../test/switchboard.ts';

const LINKS = 2;
const CALLS = 3;
const HANDLES = 2;

const place = fc.record({
  link: fc.nat(LINKS - 1),
  handle: fc.integer({ min: 1, max: HANDLES }),
  device: fc.nat(ADDRESSES.length - 1),
  call: fc.nat(CALLS - 1),
});
const move = fc.record({
  at: place,
  act: fc.constantFrom('open', 'close', 'call', 'resume', 'cancel', 'ack', 'answer', 'lost'),
});

test('[RLY-04] a frame never crosses to another handle, device or tenant, and no count drifts', () => {
  fc.assert(
    fc.property(fc.array(move, { minLength: 60, maxLength: 120, size: 'max' }), (moves) => {
      const board = switchboard({ 'devices.maxCalls': 2 });
      const live = ADDRESSES.map((_, index) => board.connect(index));
      /** Which device each link has opened under each handle, as its host knows it. */
      const held = board.links.map(() => new Map<number, number>());
      /** Where the last CALL or RESUME of a call on a device came from. */
      const routes = live.map(() => new Map<string, { link: number; handle: number }>());

      const settle = () => {
        board.links.forEach(({ socket }, link) => {
          for (const frame of socket.takeFrames()) {
            if (frame.kind !== FrameKind.ROUTE_LOST) continue;
            held[link]?.delete(frame.device);
            for (const table of routes) {
              for (const [key, from] of table) {
                if (from.link === link && from.handle === frame.device) table.delete(key);
              }
            }
          }
        });
      };
      const host = (link: number, sent: FrameFields) =>
        board.links[link]!.link.onMessage(frameBuffer(sent));

      for (const { at, act } of moves) {
        const callId = callIds[at.call]!;
        const key = callKey(callId);
        const target = held[at.link]?.get(at.handle);
        const epoch = target === undefined ? 0 : live[target]!.device.epoch;
        const sent = { device: at.handle, epoch, callId };
        if (act === 'open' && target === undefined) {
          const payload = toBinary(OpenSchema, create(OpenSchema, ADDRESSES[at.device]!));
          host(at.link, { kind: FrameKind.OPEN, device: at.handle, payload });
          held[at.link]?.set(at.handle, at.device);
        } else if (act === 'close') {
          host(at.link, { kind: FrameKind.CLOSE, device: at.handle });
          held[at.link]?.delete(at.handle);
          for (const table of routes) {
            for (const [route, from] of table) {
              if (from.link === at.link && from.handle === at.handle) table.delete(route);
            }
          }
        } else if (act === 'call' || act === 'resume') {
          host(at.link, { ...sent, kind: act === 'call' ? FrameKind.CALL : FrameKind.RESUME });
          const got = live.map(({ socket }) => socket.takeFrames().length);
          assert.ok(got.every((count, index) => count === 0 || index === target));
          if (target !== undefined && got[target] === 1) {
            routes[target]?.set(key, { link: at.link, handle: at.handle });
          }
        } else if (act === 'cancel' || act === 'ack') {
          const route = target === undefined ? undefined : routes[target]?.get(key);
          const isOwn = route?.link === at.link && route?.handle === at.handle;
          host(at.link, { ...sent, kind: act === 'ack' ? FrameKind.ACK : FrameKind.CANCEL });
          const got = live.map(({ socket }) => socket.takeFrames().length);
          const passes = route === undefined || isOwn;
          assert.deepEqual(
            got,
            live.map((_, index) => (index === target && passes ? 1 : 0)),
          );
          if (act === 'ack' && isOwn && target !== undefined) routes[target]?.delete(key);
        } else if (act === 'answer') {
          const route = routes[at.device]?.get(key);
          settle();
          live[at.device]!.device.fromDevice(frameBuffer({ kind: FrameKind.DATA, callId }), 0);
          board.links.forEach(({ socket }, link) => {
            const frames = socket.takeFrames();
            const expected = route?.link === link ? [route.handle] : [];
            assert.deepEqual(
              frames.map(({ device }) => device),
              expected,
            );
          });
        } else if (act === 'lost') {
          live[at.device]!.device.gone('disconnected');
          live[at.device] = board.connect(at.device);
          routes[at.device]?.clear();
        }
        settle();
        live.forEach(({ device }, index) => {
          assert.equal(device.calls, routes[index]!.size);
        });
        board.links.forEach(({ link }, index) => {
          const own = routes.flatMap((table) => [...table.values()]);
          assert.equal(link.usage.calls, own.filter((from) => from.link === index).length);
          assert.equal(link.handles, held[index]!.size);
        });
      }
      for (const { link } of board.links) link.onEnd('closed');
      for (const { device, tenant } of live) {
        assert.equal(device.calls, 0);
        assert.equal(tenant.calls, 0);
      }
    }),
    { numRuns: 150 },
  );
});

test('forgets a call after a long time without frames, and keeps one with frames', () => {
  const { device, link, clock, call } = oneCall();
  call(0);
  call(1);
  clock.nowMs = 14 * 60_000;
  device.fromDevice(frameBuffer({ kind: FrameKind.DATA, callId: callIds[1]! }), clock.nowMs);
  device.forgetUnusedRoutes(clock.nowMs);
  assert.equal(device.calls, 2);
  clock.nowMs = 16 * 60_000;
  device.forgetUnusedRoutes(clock.nowMs);
  assert.equal(device.calls, 1);
  assert.equal(link.usage.calls, 1);
});

test('[RLY-01] limits the calls of a tenant, a link and a device, and an excess call harms no other', () => {
  for (const bound of ['tenants.maxCalls', 'links.maxCalls', 'devices.maxCalls']) {
    const { hostSocket, socket, device, link, call } = oneCall({ [bound]: 2 });
    hostSocket.takeFrames();
    for (let i = 0; i < 3; i++) call(i);
    assert.equal(socket.takeFrames().length, 2, bound);
    const [told, ...more] = hostSocket.takeFrames();
    assert.deepEqual([told?.kind, told?.device, told?.epoch], [FrameKind.REFUSED, 1, device.epoch]);
    assert.equal(callKey(told!.callId), callKey(callIds[2]!));
    assert.equal(fromBinary(RefusedSchema, told!.payload).reason, RefusedReason.BUSY);
    assert.deepEqual(more, []);
    assert.deepEqual([device.calls, link.usage.calls, link.handles], [2, 2, 1]);
    device.fromDevice(frameBuffer({ kind: FrameKind.DATA, callId: callIds[0]! }), 0);
    assert.equal(hostSocket.takeFrames()[0]?.kind, FrameKind.DATA);
  }
});

test('[RLY-01] a link without room for a call does not take it from the link that has it', () => {
  const { hostSocket, device, links, call } = oneCall({ 'links.maxCalls': 1 });
  call(0);
  const other = links[1]!.link;
  const payload = toBinary(OpenSchema, create(OpenSchema, { ...ADDRESSES[0] }));
  other.onMessage(frameBuffer({ kind: FrameKind.OPEN, device: 1, payload }));
  const { epoch } = device;
  for (const index of [1, 0]) {
    const callId = callIds[index]!;
    other.onMessage(frameBuffer({ kind: FrameKind.RESUME, device: 1, epoch, callId }));
  }
  hostSocket.takeFrames();
  device.fromDevice(frameBuffer({ kind: FrameKind.DATA, callId: callIds[0]! }), 0);
  assert.deepEqual(
    hostSocket.takeFrames().map(({ kind }) => kind),
    [FrameKind.DATA],
  );
});

test('[RLY-01] refuses single calls of a tenant over its rate, and keeps running calls', () => {
  const { hostSocket, cuts, device, link, call } = oneCall({ 'tenants.framesPerSecond': 2 });
  for (let i = 0; i < 3; i++) call(i);
  assert.equal(hostSocket.takeFrames().at(-1)?.kind, FrameKind.REFUSED);
  assert.deepEqual([device.calls, link.handles], [2, 1]);
  const { epoch } = device;
  link.onMessage(frameBuffer({ kind: FrameKind.ACK, device: 1, epoch, callId: callIds[0]! }));
  assert.equal(device.calls, 1);
  assert.deepEqual(hostSocket.takeFrames(), []);
  assert.deepEqual(cuts, []);
});

test('[RLY-01] cuts a device over its queue limit while a host sends to it', () => {
  const { socket, cuts, call } = oneCall({ 'devices.maxQueue': '1KiB' });
  socket.queuedBytes = 1024;
  call(0);
  assert.deepEqual(cuts, []);
  socket.queuedBytes = 1025;
  call(1);
  assert.deepEqual(cuts, ['slow']);
});

test('[RLY-01] cuts a host over its queue limit while the relay answers it', () => {
  const { hostSocket, device, link, call } = oneCall({ 'links.maxQueue': '1KiB' });
  call(0);
  hostSocket.queuedBytes = 1025;
  link.onMessage(frameBuffer({ kind: FrameKind.OPEN, device: 2 }));
  assert.equal(hostSocket.closed, 'terminated');
  assert.equal(device.calls, 0);
  device.changeCatalog(new Uint8Array());
});

test('[RLY-01] cuts a device that fills the queue of a link, and keeps the link', () => {
  const { hostSocket, device, cuts, call } = oneCall({ 'links.maxQueue': '1KiB' });
  call(0);
  const send = () =>
    device.fromDevice(frameBuffer({ kind: FrameKind.DATA, callId: callIds[0]! }), 0);
  for (let sent = 1; sent <= 6 && cuts.length === 0; sent++) {
    hostSocket.queuedBytes = 60 * sent;
    send();
  }
  assert.deepEqual([cuts, hostSocket.closed], [['flooding'], undefined]);
});

test('[RLY-01] a link over its frames or bytes per second is closed, pings and pongs included', () => {
  for (const act of ['frame', 'control', 'read'] as const) {
    const settings = { 'links.framesPerSecond': 20, 'links.bytesPerSecond': '1MiB' };
    const { hostSocket, link, metrics } = oneCall(settings);
    for (let i = 0; i < 400 && hostSocket.closed === undefined; i++) {
      if (act === 'read') link.onRead(16_384);
      else if (act === 'control') link.onControl('pong');
      else link.onMessage(frameBuffer({ kind: FrameKind.ACK, device: 9, callId: callIds[0]! }));
    }
    assert.deepEqual(hostSocket.closed, { code: 4429, reason: 'limit.exceeded' }, act);
    assert.equal(metrics.refusals.at(-1), 'host limit.exceeded');
  }
});

test('cuts a host that misses two heartbeats', () => {
  const { hostSocket, link, device, call } = oneCall();
  call(0);
  link.beat();
  link.beat();
  link.onControl('pong');
  link.beat();
  link.beat();
  assert.equal(hostSocket.closed, undefined);
  link.beat();
  assert.equal(hostSocket.closed, 'terminated');
  assert.equal(hostSocket.pings, 4);
  assert.equal(device.calls, 0);
});

test('[RLY-05] a host may not touch the call of another host, and the device knows them apart', () => {
  const board = switchboard({}, ['pool', 'pool', 'stranger']);
  const { socket } = board.connect(0, [HOSTS_FEATURE]);
  const [callId = new Uint8Array()] = callIds;
  const say = (link: number, kind: FrameKind) =>
    board.links[link]!.link.onMessage(frameBuffer({ kind, device: 1, callId, epoch: 1 }));
  const payload = toBinary(OpenSchema, create(OpenSchema, ADDRESSES[0]));
  for (const { link } of board.links) {
    link.onMessage(frameBuffer({ kind: FrameKind.OPEN, device: 1, payload }));
  }
  say(0, FrameKind.CALL);
  for (const kind of [FrameKind.RESUME, FrameKind.CALL, FrameKind.CANCEL, FrameKind.ACK]) {
    say(2, kind);
  }
  say(1, FrameKind.RESUME);
  const [introduced, ...passed] = socket.takeFrames();
  assert.equal(introduced?.kind, FrameKind.HOST);
  const { number, name } = fromBinary(HostSchema, introduced.payload);
  assert.deepEqual([number, name], [1, 'pool']);
  assert.deepEqual(
    passed.map(({ kind, device }) => [kind, device]),
    [
      [FrameKind.CALL, 1],
      [FrameKind.RESUME, 1],
    ],
  );
  say(1, FrameKind.ACK);
  // The route is gone, so only the device can tell whose call it was.
  say(2, FrameKind.RESUME);
  assert.deepEqual(
    socket.takeFrames().map(({ kind, device }) => [kind, device]),
    [
      [FrameKind.ACK, 1],
      [FrameKind.HOST, 0],
      [FrameKind.RESUME, 2],
    ],
  );
});
