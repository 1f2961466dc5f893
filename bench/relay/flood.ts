// Floods a relay with valid frames from devices of one tenant to their host. A line on stdin begins the flood, or ends it.
import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { FrameKind } from '@zerolatency/frame';
import { signPossession } from '@zerolatency/identity';
import { frameBytes } from '@zerolatency/testing';
import { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { openSocket } from '../../services/tool-relay/test/frame-socket.ts';
import { HostClient } from '../../services/tool-relay/test/host-client.ts';

export interface FloodPlan {
  readonly socketUrl: string;
  readonly ca: string;
  readonly hostToken: string;
  readonly framesPerSecond: number;
  readonly payloadBytes: number;
  readonly devices: readonly {
    readonly tenant: string;
    readonly deviceId: string;
    readonly credential: string;
    readonly keyFile: string;
  }[];
}

/** The lowest: what the flood costs its senders is not to slow down what is measured. */
const PRIORITY = 19;
const TICK_MS = 1;
/** A sender that was late makes up for no more. */
const MAX_BURST_MS = 20;
const MAX_BUFFERED_BYTES = 256 * 1024;

const plan: FloodPlan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const { socketUrl, ca, hostToken, framesPerSecond, payloadBytes } = plan;
const headers = { authorization: `Bearer ${hostToken}` };
const host = new HostClient(openSocket(`${socketUrl}/v1/link`, { ca, headers }));
await host.opened();

async function sender({ tenant, deviceId, credential, keyFile }: FloodPlan['devices'][number]) {
  const device = new DeviceClient(openSocket(`${socketUrl}/v1/device`, { ca }));
  const { nonce, relayId: audience } = await device.challenge();
  const key = createPrivateKey(readFileSync(keyFile));
  const proof = await signPossession(key, { nonce, audience, nowMs: Date.now() });
  device.sendHello({ credential, proof });
  await device.welcome();
  const { handle, epoch } = await host.open(tenant, deviceId);
  const callId = randomBytes(16);
  host.send({ kind: FrameKind.CALL, device: handle, epoch, callId });
  await device.take(FrameKind.CALL);
  const payload = randomBytes(payloadBytes);
  return { device, frame: frameBytes({ kind: FrameKind.DATA, callId, epoch, payload }) };
}

const senders: Awaited<ReturnType<typeof sender>>[] = [];
for (const device of plan.devices) senders.push(await sender(device));
setPriority(PRIORITY);
let received = 0;
host.native.removeAllListeners('message');
host.native.on('message', () => {
  received += 1;
});

let timer: NodeJS.Timeout | undefined;
let sent = 0;
function begin(): void {
  const startMs = performance.now();
  let next = 0;
  let dueFrames = 0;
  let lastMs = startMs;
  timer = setInterval(() => {
    const nowMs = performance.now();
    dueFrames += (Math.min(MAX_BURST_MS, nowMs - lastMs) * framesPerSecond) / 1000;
    lastMs = nowMs;
    for (; dueFrames >= 1; dueFrames -= 1) {
      const sender = senders[next % senders.length];
      next += 1;
      // What a slowed sender cannot get rid of is not sent later.
      if (sender === undefined || sender.device.native.bufferedAmount > MAX_BUFFERED_BYTES)
        continue;
      sender.device.native.send(sender.frame);
      sent += 1;
    }
  }, TICK_MS);
}

console.log(JSON.stringify({ event: 'ready' }));
for await (const line of createInterface({ input: process.stdin })) {
  clearInterval(timer);
  if (line === 'begin') {
    received = 0;
    sent = 0;
    begin();
  } else {
    const cut = senders.filter(({ device }) => device.closed !== undefined).length;
    console.log(JSON.stringify({ event: 'ended', sent, received, cut }));
  }
}
process.exit(0);
