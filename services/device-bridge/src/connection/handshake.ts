import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import {
  decodeFrame,
  encodeFrame,
  FEATURES,
  type Frame,
  FrameKind,
  HOSTS_FEATURE,
  isKnownKind,
  NO_CALL,
  REDIRECT_FEATURE,
  RENEWAL_FEATURE,
} from '@zerolatency/frame';
import { signPossession } from '@zerolatency/identity';
import { ChallengeSchema, HelloSchema, WelcomeSchema } from '@zerolatency/proto/bridge';
import type { SocketEnd } from '../ports.ts';
import {
  type Attempt,
  describeEnd,
  live,
  lost,
  type Machine,
  openWire,
  refusalOf,
  refused,
  type Target,
  type Wire,
} from './state.ts';

export function dialling(machine: Machine, target: Target): Attempt {
  const { clock, dials, limits } = machine.deps;
  const { relay = machine.nextRelay(), transport = machine.transports.current } = target;
  const wire = openWire(dials, { relay, transport });
  const fail = (why: string, isBlocked: boolean) => {
    machine.transports.failed(transport, isBlocked);
    wire.drop();
    machine.change(state, () => lost(machine, { why }));
  };
  const timer = clock.setTimeout(
    () => fail('the relay does not answer', wire.isReached),
    limits.handshakeMs,
  );
  wire.listen({
    onOpen: () => machine.change(state, () => proving(machine, wire)),
    onClose: (end) => fail(describeEnd(end), isBlockedBy(wire, end)),
  });
  const leave = () => clock.clearTimeout(timer);
  const state: Attempt = { name: 'dialling', wire, leave };
  return state;
}

/** A relay that refuses says so with a code of its own. */
function isBlockedBy({ isReached }: Wire, { code }: SocketEnd): boolean {
  return isReached && code === 1006;
}

/** Where an HTTP stream opened, a WebSocket was blocked before. */
const NO_WELCOME = {
  websocket: 'the relay sent no welcome',
  http_stream: 'the relay sent no welcome, or a proxy on the way holds it back',
} as const;

/** Answers the relay's challenge and waits for its welcome. */
export function proving(machine: Machine, wire: Wire): Attempt {
  const { clock, limits } = machine.deps;
  let isLeft = false;
  let isChallenged = false;
  const fail = (why: string, isBlocked = false) => {
    machine.transports.failed(wire.transport, isBlocked);
    wire.drop();
    machine.change(state, () => lost(machine, { why }));
  };
  const refuse = (error: ZlError) => {
    wire.drop();
    machine.change(state, () => refused(error));
  };
  const answer = async (challenge: Uint8Array) => {
    const payload = await hello(machine, challenge);
    if (!isLeft) wire.send(encodeFrame(controlFrame(FrameKind.HELLO, payload)));
  };
  const redirect = (frame: Frame) => {
    const target = machine.follow(frame, wire.relay);
    if (target === undefined) {
      fail('the relay redirects the device a second time, or not to a relay');
      return;
    }
    wire.drop();
    const { transport } = wire;
    machine.change(state, () => dialling(machine, { relay: target.url, transport }));
  };
  const hear = (frame: Frame) => {
    const { kind, payload } = frame;
    if (kind === FrameKind.CHALLENGE && !isChallenged) {
      isChallenged = true;
      answer(payload).catch((reason: unknown) => {
        if (isLeft) return;
        if (reason instanceof ZlError) refuse(reason);
        else fail('the relay sent a malformed challenge');
      });
    } else if (kind === FrameKind.WELCOME) {
      const welcome = readWelcome(payload, clock.nowMs());
      if (welcome === undefined) fail('the relay sent a malformed welcome');
      else machine.change(state, () => live(machine, wire, welcome));
    } else if (kind === FrameKind.REDIRECT) {
      redirect(frame);
    } else if (!isKnownKind(kind)) {
      machine.deps.listener.onIgnored();
    } else {
      fail(`the relay sent a frame of kind ${kind} out of turn`);
    }
  };
  const timer = clock.setTimeout(
    () => fail(NO_WELCOME[wire.transport], wire.isReached),
    limits.handshakeMs,
  );
  wire.listen({
    onMessage: (bytes) => {
      const { frame, error } = decodeFrame(bytes);
      if (error) fail(error.message);
      else hear(frame);
    },
    onClose: (end) => {
      const refusal = refusalOf(end);
      if (refusal === undefined) fail(describeEnd(end), isBlockedBy(wire, end));
      else refuse(refusal);
    },
  });
  const state: Attempt = {
    name: 'proving',
    wire,
    leave: () => {
      isLeft = true;
      clock.clearTimeout(timer);
    },
  };
  return state;
}

/** Answers a challenge with the credential and a proof that the device holds its key now. */
async function hello(
  { deps, noRedirect, lastEpoch }: Machine,
  challenge: Uint8Array,
): Promise<Uint8Array> {
  const { credential, key } = await deps.loadIdentity();
  const { nonce, relayId: audience } = fromBinary(ChallengeSchema, challenge);
  // The relay compares the proof's time of issue with its own clock.
  const proof = await signPossession(key, { nonce, audience, nowMs: deps.clock.nowMs() });
  const { journalId, bridgeVersion } = deps;
  const catalog = deps.catalog();
  const features = [...FEATURES, HOSTS_FEATURE, RENEWAL_FEATURE, REDIRECT_FEATURE];
  const message = {
    ...{ credential, proof, journalId, bridgeVersion, catalog },
    features: [...features, ...(deps.features ?? [])],
    noRedirect: noRedirect(),
    lastEpoch: BigInt(lastEpoch()),
  };
  return toBinary(HelloSchema, create(HelloSchema, message));
}

function readWelcome(payload: Uint8Array, nowMs: number) {
  try {
    const { epoch, heartbeatMs, unixMs, features } = fromBinary(WelcomeSchema, payload);
    const skewMs = unixMs === 0n ? undefined : nowMs - Number(unixMs);
    return { epoch: Number(epoch), heartbeatMs, skewMs, features };
  } catch {
    // Not a Welcome; the caller drops the relay.
    return undefined;
  }
}

export function controlFrame(kind: FrameKind, payload: Uint8Array): Frame {
  return { kind, flags: 0, device: 0, callId: NO_CALL, offset: 0, epoch: 0, payload };
}
