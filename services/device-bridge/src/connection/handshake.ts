import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameKind,
  isKnownKind,
  NO_CALL,
} from '@zerolatency/frame';
import { WelcomeSchema } from '@zerolatency/proto/bridge';
import { answerChallenge, type DeviceCredentials } from './hello.ts';
import { live } from './live.ts';
import {
  type ConnectionState,
  describeEnd,
  lost,
  type Machine,
  refusalOf,
  refused,
} from './state.ts';
import { openWire, type Wire } from './wire.ts';

export function dialling(machine: Machine): ConnectionState {
  const { clock, dial, limits } = machine.deps;
  const wire = openWire(dial, machine.nextRelay());
  const fail = (why: string) => {
    wire.drop();
    machine.become(() => lost(machine, { why }));
  };
  const timer = clock.setTimeout(() => fail('the relay does not answer'), limits.handshakeMs);
  wire.listen({
    onOpen: () => machine.become(() => proving(machine, wire)),
    onClose: (end) => fail(describeEnd(end)),
  });
  return {
    name: 'dialling',
    wire,
    leave: () => clock.clearTimeout(timer),
  };
}

/** Answers the relay's challenge and waits for its welcome. */
export function proving(machine: Machine, wire: Wire): ConnectionState {
  const { clock, limits } = machine.deps;
  let isLeft = false;
  const fail = (why: string) => {
    wire.drop();
    machine.become(() => lost(machine, { why }));
  };
  const refuse = (error: ZlError) => {
    wire.drop();
    machine.become(() => refused(error));
  };
  const answer = async (challenge: Uint8Array) => {
    const identity = await machine.deps.loadIdentity();
    const payload = await hello(machine, challenge, identity);
    if (!isLeft) wire.send(encodeFrame(controlFrame(FrameKind.HELLO, payload)));
  };
  const hear = ({ kind, payload }: Frame) => {
    if (kind === FrameKind.CHALLENGE) {
      answer(payload).catch((reason: unknown) => {
        if (isLeft) return;
        if (reason instanceof ZlError) refuse(reason);
        else fail('the relay sent a malformed challenge');
      });
    } else if (kind === FrameKind.WELCOME) {
      const welcome = readWelcome(payload);
      if (welcome === undefined) fail('the relay sent a malformed welcome');
      else machine.become(() => live(machine, wire, welcome));
    } else if (!isKnownKind(kind)) {
      machine.deps.listener.onIgnored();
    } else {
      fail(`the relay sent a frame of kind ${kind} before its welcome`);
    }
  };
  const timer = clock.setTimeout(() => fail('the relay sent no welcome'), limits.handshakeMs);
  wire.listen({
    onMessage: (bytes) => {
      const { frame, error } = decodeFrame(bytes);
      if (error) fail(error.message);
      else hear(frame);
    },
    onClose: (end) => {
      const refusal = refusalOf(end);
      if (refusal === undefined) fail(describeEnd(end));
      else refuse(refusal);
    },
  });
  return {
    name: 'proving',
    wire,
    leave: () => {
      isLeft = true;
      clock.clearTimeout(timer);
    },
  };
}

async function hello({ deps }: Machine, challenge: Uint8Array, identity: DeviceCredentials) {
  const { journalId, bridgeVersion } = deps;
  const parts = { identity, journalId, bridgeVersion, catalog: deps.catalog() };
  // The relay compares the proof's time of issue with its own clock.
  const { payload } = await answerChallenge(challenge, { ...parts, nowMs: deps.clock.nowMs() });
  return payload;
}

function readWelcome(payload: Uint8Array) {
  try {
    const { epoch, heartbeatMs } = fromBinary(WelcomeSchema, payload);
    return { epoch: Number(epoch), heartbeatMs };
  } catch {
    // Not a Welcome; the caller drops the relay.
    return undefined;
  }
}

export function controlFrame(kind: FrameKind, payload: Uint8Array): Frame {
  return { kind, flags: 0, device: 0, callId: NO_CALL, offset: 0, epoch: 0, payload };
}
