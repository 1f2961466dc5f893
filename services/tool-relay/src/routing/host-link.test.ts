import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { DrainSchema } from '@zerolatency/proto/bridge';
import { OpenSchema, RouteLostReason, RouteLostSchema } from '@zerolatency/proto/link';
import { ADDRESSES, callIds, frameBuffer, oneCall } from '../../test/switchboard.ts';

const [callId = new Uint8Array()] = callIds;
const openPayload = toBinary(OpenSchema, create(OpenSchema, ADDRESSES[0]));

function open(number: number, payload: Uint8Array = openPayload): Buffer {
  return frameBuffer({ kind: FrameKind.OPEN, device: number, payload });
}

test('a link that ends leaves the heartbeat and the backlog, ends its calls, and says so once', () => {
  const world = oneCall();
  const { link, hostSocket, device, backlog, heartbeat, call, gone } = world;
  call(0);
  hostSocket.queuedBytes = 10;
  link.onMessage(open(2, toBinary(OpenSchema, create(OpenSchema, ADDRESSES[1]))));
  assert.equal(backlog.queuedBytes('host'), 10);
  link.onEnd('closed');
  link.onEnd('closed');
  link.end(1012, 'server.draining');
  assert.deepEqual(gone, [link]);
  assert.deepEqual([device.calls, link.usage.calls, link.handles], [0, 0, 0]);
  assert.equal(backlog.queuedBytes('host'), 0);
  for (let tick = 0; tick < 16; tick++) heartbeat.tick();
  assert.equal(hostSocket.pings, 0);
});

test('the end of a socket counts as refused only if the peer broke a rule', () => {
  for (const [end, refusals] of [
    ['closed', []],
    ['too_large', ['host frame.too_large']],
    ['text_message', ['host frame.malformed']],
  ] as const) {
    const { link, metrics, gone } = oneCall();
    link.onEnd(end);
    assert.deepEqual([metrics.refusals, gone], [refusals, [link]], end);
  }
});

test('[RLY-01] a frame that no host may send ends the link', () => {
  const frames: Readonly<Record<string, Buffer>> = {
    'not a frame': Buffer.from('hello'),
    'of the wrong side': frameBuffer({ kind: FrameKind.DATA, device: 1, callId }),
    'without a kind': frameBuffer({ kind: 0, device: 1 }),
    'OPEN of handle 0': open(0),
    'OPEN of a handle in use': open(1),
    'OPEN without an address': open(2, Buffer.from([0xff])),
    'an unsafe epoch': frameBuffer({ kind: FrameKind.CALL, device: 1, callId, epoch: 2 ** 53 }),
  };
  for (const [what, bytes] of Object.entries(frames)) {
    const { link, hostSocket, metrics, gone } = oneCall();
    link.onMessage(bytes);
    assert.deepEqual(hostSocket.closed, { code: 4400, reason: 'frame.malformed' }, what);
    assert.deepEqual([metrics.refusals, gone], [['host frame.malformed'], [link]], what);
  }
});

test('[RLY-01] a kind that this release does not know is ignored and counted', () => {
  const { link, hostSocket, metrics } = oneCall();
  for (const kind of [31, 64]) link.onMessage(frameBuffer({ kind, device: 1 }));
  assert.equal(metrics.ignoredFrom.host, 2);
  assert.equal(hostSocket.closed, undefined);
});

test('a frame for a handle that is not open is refused, and its link stays', () => {
  const { link, hostSocket, socket, metrics } = oneCall();
  link.onMessage(frameBuffer({ kind: FrameKind.CLOSE, device: 9 }));
  link.onMessage(frameBuffer({ kind: FrameKind.CALL, device: 9, callId, epoch: 1 }));
  assert.deepEqual(metrics.refusals, ['host device.offline']);
  assert.deepEqual([hostSocket.closed, socket.takeFrames()], [undefined, []]);
});

test('a handle that cannot be opened is lost for a stated reason, and its number is free again', () => {
  const away = toBinary(OpenSchema, create(OpenSchema, ADDRESSES[2]));
  for (const [settings, isDraining, payload, reason] of [
    [{}, true, away, 'draining'],
    [{ 'links.maxHandles': 1 }, false, openPayload, 'limit'],
    [{}, false, away, 'not_here'],
  ] as const) {
    const world = oneCall(settings);
    const { link, hostSocket, metrics } = world;
    hostSocket.takeFrames();
    world.isDraining = isDraining;
    for (let i = 0; i < 2; i++) link.onMessage(open(2, payload));
    assert.deepEqual(
      hostSocket.takeFrames().map(({ kind, device }) => [kind, device]),
      [
        [FrameKind.ROUTE_LOST, 2],
        [FrameKind.ROUTE_LOST, 2],
      ],
    );
    assert.deepEqual(metrics.lost, [reason, reason]);
    assert.equal(link.handles, 1);
  }
});

test('[RLY-02] a frame of another epoch, whatever its kind, loses the handle and does not pass', () => {
  for (const kind of [FrameKind.CALL, FrameKind.RESUME, FrameKind.CANCEL, FrameKind.ACK]) {
    for (const epoch of [0, 2]) {
      const { link, hostSocket, socket, device, metrics, call } = oneCall();
      call(0);
      socket.takeFrames();
      hostSocket.takeFrames();
      link.onMessage(frameBuffer({ kind, device: 1, callId, epoch }));
      assert.deepEqual(socket.takeFrames(), []);
      const [lost] = hostSocket.takeFrames();
      assert.deepEqual([lost?.kind, lost?.device], [FrameKind.ROUTE_LOST, 1]);
      assert.equal(fromBinary(RouteLostSchema, lost!.payload).reason, RouteLostReason.OLD_EPOCH);
      assert.deepEqual(metrics.lost, ['old_epoch']);
      assert.deepEqual([device.calls, link.handles], [0, 0]);
    }
  }
});

test('a relay that shuts down tells the host when, and closes its link in the end', () => {
  const { link, hostSocket, gone } = oneCall();
  hostSocket.takeFrames();
  link.drain(700);
  const [drain] = hostSocket.takeFrames();
  assert.equal(drain?.kind, FrameKind.DRAIN);
  assert.equal(fromBinary(DrainSchema, drain.payload).closeAfterMs, 700);
  assert.deepEqual([hostSocket.closed, gone], [undefined, []]);
  link.end(1012, 'server.draining');
  assert.deepEqual(hostSocket.closed, { code: 1012, reason: 'server.draining' });
  assert.deepEqual(gone, [link]);
});

test('a host that sends is alive, and one that is silent loses its link', () => {
  const { link, hostSocket, device, call, gone } = oneCall();
  for (let i = 0; i < 5; i++) {
    link.beat();
    link.beat();
    call(0);
  }
  assert.deepEqual([hostSocket.closed, device.calls], [undefined, 1]);
  for (let i = 0; i < 3; i++) link.beat();
  assert.equal(hostSocket.closed, 'terminated');
  assert.deepEqual([device.calls, gone], [0, [link]]);
});

test('[RLY-01] a queue at its limit is kept, and one over it ends the link', () => {
  const { link, hostSocket, gone } = oneCall({ 'links.maxQueue': '1KiB' });
  hostSocket.queuedBytes = 1024;
  link.drain(1);
  assert.deepEqual([hostSocket.closed, gone], [undefined, []]);
  hostSocket.queuedBytes = 1025;
  link.drain(1);
  assert.deepEqual([hostSocket.closed, gone], ['terminated', [link]]);
});
