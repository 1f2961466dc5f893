import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { FrameKind, isCanonical, kindOf } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import { frameBytes } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { HostClient } from '../../services/tool-relay/test/host-client.ts';
import { lifetime } from '../lifetime.ts';
import type { Material } from './material.ts';
import { type Program, startProgram } from './program.ts';

const PAYLOAD_BYTES = 200;

/** A way from a host to a device and back. */
export interface Way {
  readonly program: Program;
  /** Sends one call; its answer is told to onAnswer. */
  call(): void;
  onAnswer: () => void;
}

/** The same bytes as frames, over an engine that knows nothing of them. */
export async function bareWay({ authority, certFile, keyFile }: Material): Promise<Way> {
  const program = await startProgram('bench/floors/socket-floor.ts', [certFile, keyFile]);
  const device = await connect(`${program.ready.socketUrl}/device`, authority.ca);
  const host = await connect(`${program.ready.socketUrl}/host`, authority.ca);
  const message = frameBytes({ kind: 0, payload: randomBytes(PAYLOAD_BYTES) });
  Buffer.from(message.buffer, message.byteOffset).writeUInt32BE(0);
  device.on('message', (data) => device.send(data as Buffer));
  const way: Way = { program, call: () => host.send(message), onAnswer: () => {} };
  host.on('message', () => way.onAnswer());
  return way;
}

/** Calls as a host makes them: CALL, OUTCOME, ACK. */
export async function relayWay({ authority, enrolment, host, configFile }: Material): Promise<Way> {
  const program = await startProgram('dist/tool-relay/main.mjs', ['--config', configFile]);
  const { socketUrl, relayId = '' } = program.ready;
  const identity = await enrolment.device({ deviceId: 'laptop' });
  const device = new DeviceClient(`${socketUrl}/v1/device`, { ca: authority.ca });
  await device.prove(identity);
  await device.welcome();
  const token = await signPeerToken(host, { audience: relayId, nowMs: Date.now() });
  const headers = { authorization: `Bearer ${token}` };
  const link = new HostClient(`${socketUrl}/v1/link`, { ca: authority.ca, headers });
  lifetime.after(() => {
    device.native.terminate();
    link.native.terminate();
  });
  await link.opened();
  const { handle, epoch } = await link.open(identity.tenant, identity.deviceId);
  return callOver({ device: device.native, link: link.native }, { handle, epoch }, program);
}

function callOver(
  { device, link }: { device: WebSocket; link: WebSocket },
  { handle, epoch }: { handle: number; epoch: number },
  program: Program,
): Way {
  const payload = randomBytes(PAYLOAD_BYTES);
  const ids = Array.from({ length: 512 }, () => randomBytes(16));
  const head = { device: handle, epoch, payload };
  const calls = ids.map((callId) => frameBytes({ ...head, kind: FrameKind.CALL, callId }));
  const acks = ids.map((callId) =>
    frameBytes({ kind: FrameKind.ACK, device: handle, epoch, callId }),
  );
  device.removeAllListeners('message');
  device.on('message', (data) => {
    const bytes = data as Buffer;
    if (!isCanonical(bytes) || kindOf(bytes) !== FrameKind.CALL) return;
    bytes[1] = FrameKind.OUTCOME;
    device.send(bytes);
  });
  let sent = 0;
  let answered = 0;
  const way: Way = {
    program,
    onAnswer: () => {},
    call: () => {
      link.send(calls[sent % ids.length] ?? payload);
      sent += 1;
    },
  };
  link.removeAllListeners('message');
  link.on('message', () => {
    const ack = acks[answered % ids.length] ?? payload;
    answered += 1;
    // The next call comes first: a host acknowledges when its record is safe.
    way.onAnswer();
    link.send(ack);
  });
  return way;
}

async function connect(url: string, ca: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { ca, perMessageDeflate: false });
  lifetime.after(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}
