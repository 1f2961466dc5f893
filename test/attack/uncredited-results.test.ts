import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { ServerState } from '@zerolatency/proto/bridge';
import { OutcomeSchema, OutcomeStatus } from '@zerolatency/proto/call';
import { eventually, type FrameFields, frameBytes } from '@zerolatency/testing';
import { runningPid } from '../../services/cli/src/installation/processes.ts';
import type { DeviceClient } from '../../services/tool-relay/test/device-client.ts';
import { scriptModel } from '../e2e/effects.ts';
import { RelayPeers } from '../e2e/relay-peers.ts';
import { callIn, runTurn, type System, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const CALL = 'call fs.read {"path":"welcome.txt"}';
const CHUNK = Buffer.alloc(60_000);
const FLOOD_MB = size({ short: 72, long: 524 });
const FRAMES = Math.ceil((FLOOD_MB * 1_000_000) / CHUNK.length);
/** Long floods show a share that short ones cannot: sockets, a window and garbage take some MiB. */
const MAX_GROWTH_MIB = size({ short: 64, long: FLOOD_MB / 4 });
/** More than any result may have. */
const FAR = 2 ** 30;
const CATALOG = {
  servers: [
    { name: 'fs', state: ServerState.READY, tools: [{ name: 'read', inputSchemaJson: '{}' }] },
  ],
};

/** Which offset each chunk claims; the host grants 256 KiB before it has read any of them. */
const FLOODS: Readonly<Record<string, (sent: number) => number>> = {
  'beyond the credit': (sent) => sent,
  'far beyond the credit': (sent) => FAR + sent,
  'behind a gap': () => 100_000,
  'again and again': () => 0,
};

type Dial = (onFrame: DeviceClient['onFrame']) => Promise<DeviceClient>;

/** A device that answers with as many bytes as it likes, and dials again whenever the relay cuts it. */
class FloodingDevice {
  resumes = 0;
  cuts = 0;
  readonly #dial: Dial;
  #client: Promise<DeviceClient>;
  #call: Frame | undefined;
  #isEnding = false;

  constructor(dial: Dial) {
    this.#dial = dial;
    this.#client = this.#connect();
  }

  called(withinMs = 30_000): Promise<Frame> {
    return eventually(() => this.#call, { timeoutMs: withinMs });
  }

  async flood(offsetOf: (sent: number) => number): Promise<void> {
    for (let frame = 0; frame < FRAMES; frame += 1) {
      await this.#send({
        kind: FrameKind.DATA,
        offset: offsetOf(frame * CHUNK.length),
        payload: CHUNK,
      });
    }
  }

  /** Also when the host has to ask again, because a cut took the answer. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#answer();
  }

  forget(): void {
    this.#call = undefined;
    this.#isEnding = false;
    this.resumes = 0;
    this.cuts = 0;
  }

  async #connect(): Promise<DeviceClient> {
    const client = await this.#dial((frame) => this.#take(frame));
    client.native.once('close', () => this.#reconnect());
    if (client.closed !== undefined) this.#reconnect();
    return client;
  }

  #reconnect(): void {
    this.cuts += 1;
    this.#client = this.#connect();
    // The next frame fails with it; at the end of the test nobody sends one.
    this.#client.catch(() => {});
  }

  #take(frame: Frame): void {
    if (frame.kind === FrameKind.RESUME) this.resumes += 1;
    if (frame.kind !== FrameKind.CALL && frame.kind !== FrameKind.RESUME) return;
    this.#call = frame;
    if (this.#isEnding) void this.#answer();
  }

  #answer(): Promise<void> {
    const outcome = { status: OutcomeStatus.FAILED, errorId: 'tool.failed' };
    const payload = toBinary(OutcomeSchema, create(OutcomeSchema, outcome));
    return this.#send({ kind: FrameKind.OUTCOME, payload });
  }

  /** Resolves when the socket took it, or lost it to a cut. */
  async #send(fields: FrameFields): Promise<void> {
    const { callId } = await this.called();
    const { native, epoch } = await this.#client;
    const bytes = frameBytes({ ...fields, callId, epoch });
    await new Promise<void>((resolve) => native.send(bytes, () => resolve()));
  }
}

/** The host's; its kernel keeps the mark. */
async function mostMib({ layout }: System): Promise<number> {
  const pid = await runningPid(layout, 'model-host');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** A host grows by tens of MiB with its first calls, which must not count as the flood's. */
async function warmUp(system: System): Promise<void> {
  const session = await system.chat();
  for (let calls = 0; calls < 60; calls += 1) {
    await callIn(session, 'fs.read', { path: 'welcome.txt' });
  }
  session.close();
}

/** Makes calls to the honest device until the other is through; returns how many, all of them done. */
async function callsDuring(system: System, flood: Promise<void>): Promise<number> {
  let isOver = false;
  const over = flood.finally(() => {
    isOver = true;
  });
  const session = await system.chat();
  const outcomes: string[] = [];
  while (!isOver) {
    outcomes.push((await callIn(session, 'fs.read', { path: 'welcome.txt' })).outcome);
  }
  await over;
  session.close();
  assert.deepEqual(new Set(outcomes), new Set(['DONE']));
  return outcomes.length;
}

test('[RLY-05] results beyond their credit fail no call of another device and take no memory', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const system = await startSystem(t, { prepare: scriptModel });
  const peers = await RelayPeers.of(t, system);
  const enrolled = await peers.enrol({ deviceId: 'flooding' });
  const journalId = randomBytes(16);
  const device = new FloodingDevice(async (onFrame) => {
    const client = peers.device();
    client.onFrame = (frame) => {
      onFrame(frame);
      if (frame.kind === FrameKind.DATA || frame.kind === FrameKind.CREDIT) client.frames.pop();
    };
    await client.prove(enrolled, { catalog: CATALOG, journalId });
    await client.welcome();
    return client;
  });
  await warmUp(system);
  const flooded = async (flood: string, offsetOf: (sent: number) => number) => {
    const beforeMib = await mostMib(system);
    const calls = await callsDuring(system, device.flood(offsetOf));
    const grownMib = (await mostMib(system)) - beforeMib;
    const of = { attack: `results ${flood}` };
    figure(t, { ...of, name: 'calls meanwhile, all done', value: calls, unit: 'calls' });
    figure(t, { ...of, name: `memory for ${FLOOD_MB} MB`, value: grownMib, unit: 'MiB' });
    figure(t, { ...of, name: 'times that the relay cut it', value: device.cuts, unit: 'times' });
    figure(t, { ...of, name: 'requests to resume', value: device.resumes, unit: 'frames' });
    assert.ok(grownMib < MAX_GROWTH_MIB, `${flood}: ${grownMib} MiB`);
    // One for the gap, and those of silence.
    assert.ok(device.resumes < FRAMES / 20, `${flood}: ${device.resumes} requests`);
    await device.end();
  };
  for (const [flood, offsetOf] of Object.entries(FLOODS)) {
    const session = await system.chat({ deviceId: 'flooding' });
    const turn = runTurn(session, CALL);
    await flooded(flood, offsetOf);
    assert.equal((await turn).calls[0]?.outcome, 'UNKNOWN', flood);
    device.forget();
    session.close();
  }

  // A host that comes back asks only how the call ended, and gives no credit at all.
  let isAsked = false;
  for (let tries = 0; !isAsked && tries < 5; tries += 1) {
    isAsked = await isAskedByNextHost(system, device);
  }
  assert.ok(isAsked);
  await flooded('to a host that came back', (sent) => sent);
});

/** The host asks for a few seconds after its start, which a busy machine may need for itself. */
async function isAskedByNextHost(system: System, device: FloodingDevice): Promise<boolean> {
  device.forget();
  const session = await system.chat({ deviceId: 'flooding' });
  const broken = assert.rejects(runTurn(session, CALL));
  await device.called();
  await system.kill('model-host');
  await broken;
  device.forget();
  await system.start('model-host');
  await system.healthy();
  return await device.called(5_000).then(
    () => true,
    () => false,
  );
}
