import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { FrameKind, isCanonical, kindOf } from '@zerolatency/frame';
import { signPeerToken } from '@zerolatency/identity';
import { RelayService } from '@zerolatency/proto/relay';
import { clientTlsOptions } from '@zerolatency/service/tls';
import { frameBytes } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { openSocket } from '../../services/tool-relay/test/frame-socket.ts';
import { HostClient } from '../../services/tool-relay/test/host-client.ts';
import { lifetime } from '../lifetime.ts';
import { type Material, makePool } from './material.ts';
import { type Program, startProgram } from './program.ts';

const PAYLOAD_BYTES = 200;
const RELAY = 'dist/tool-relay/main.mjs';

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
export async function relayWay(material: Material): Promise<Way> {
  const program = await startProgram(RELAY, ['--config', material.configFile]);
  return await wayThrough(program, material, { deviceId: 'laptop' });
}

/** The same over a relay that runs already. */
export async function wayThrough(
  program: Program,
  material: Material,
  named: { readonly tenant?: string; readonly deviceId: string },
): Promise<Way> {
  const { socketUrl } = program.ready;
  const identity = await connectDevice(material, socketUrl, named);
  const owner = { relayId: 'bench', linkUrl: `${socketUrl}/v1/link` };
  return linkTo(material, { owner, identity, program });
}

/** The same through two pods: the host asks the first, and the second owns the device. */
export async function poolWay(material: Material): Promise<Way | undefined> {
  const configFiles = await makePool(material);
  if (configFiles === undefined) return undefined;
  const pods: Program[] = [];
  for (const file of configFiles) pods.push(await startProgram(RELAY, ['--config', file]));
  const [first, second] = pods;
  if (first === undefined || second === undefined) throw new Error('fewer than two pods');
  const identity = await connectDevice(material, second.ready.socketUrl);
  const baseUrl = first.ready.rpcUrl ?? '';
  const sessionManager = new Http2SessionManager(baseUrl, {}, clientTlsOptions(material.host));
  lifetime.after(() => sessionManager.abort());
  const rpc = createClient(RelayService, createGrpcTransport({ baseUrl, sessionManager }));
  const owner = await rpc.locate(identity.device);
  if (owner.relayId !== second.ready.relayId) throw new Error(`${owner.relayId} owns the device`);
  return linkTo(material, { owner, identity, program: second });
}

async function connectDevice(
  { authority, enrolment }: Material,
  socketUrl = '',
  named: Parameters<typeof wayThrough>[2] = { deviceId: 'laptop' },
) {
  const { tenant, deviceId, ...keys } = await enrolment.device(named);
  const client = new DeviceClient(openSocket(`${socketUrl}/v1/device`, { ca: authority.ca }));
  lifetime.after(() => client.native.terminate());
  await client.prove({ tenant, deviceId, ...keys });
  await client.welcome();
  return { device: { tenant, deviceId }, client };
}

interface Owned {
  readonly owner: { readonly relayId: string; readonly linkUrl: string };
  readonly identity: Awaited<ReturnType<typeof connectDevice>>;
  readonly program: Program;
}

async function linkTo({ authority, host }: Material, { owner, identity, program }: Owned) {
  const { device, client } = identity;
  const token = await signPeerToken(host, { audience: owner.relayId, nowMs: Date.now() });
  const headers = { authorization: `Bearer ${token}` };
  const link = new HostClient(openSocket(owner.linkUrl, { ca: authority.ca, headers }));
  lifetime.after(() => link.native.terminate());
  await link.opened();
  const { handle, epoch } = await link.open(device.tenant, device.deviceId);
  return callOver({ device: client.native, link: link.native }, { handle, epoch }, program);
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
