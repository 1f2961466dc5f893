import { createSecureContext, type SecureContext } from 'node:tls';
import { Backoff, type BackoffRange } from '@zerolatency/service/backoff';
import type { TestDevice } from '@zerolatency/testing';
import type { Material } from '../relay/material.ts';
import { type Scheduled, scheduledMs, startProgram } from '../relay/program.ts';
import { percentile } from '../report.ts';
import { LeanDevice } from './measure/lean-device.ts';
import { configured, inTurns } from './measure/relay-costs.ts';
import { ASSUMED, bridgeBackoff, type Setup } from './setup.ts';
import { Simulation } from './simulation.ts';
import { Kind } from './world.ts';

const LOOPBACK_RTT_MS = 0.1;
const MAX_MS = 600_000;

export interface Comparison {
  readonly name: string;
  readonly measured: Times;
  readonly simulated: Times;
  /** What other work on the machine left: time on a core, of the time that a core was wanted. */
  readonly relayShare: number;
  readonly clientShare: number;
  readonly downMs: number;
}

export interface Times {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly allMs: number;
}

export interface Trial {
  readonly name: string;
  /** Every device dials from an address of its own, or all from one. */
  readonly isOneAddress: boolean;
}

/** Kills a real relay under real devices, starts it again, and simulates the same. */
export async function validate(
  trial: Trial,
  { material, devices, base }: { material: Material; devices: readonly TestDevice[]; base: Setup },
): Promise<Comparison> {
  const { backMs, ...surroundings } = await measure(trial, material, devices);
  const measured = {
    p50Ms: percentile(backMs, 0.5),
    p99Ms: percentile(backMs, 0.99),
    allMs: Math.max(...backMs),
  };
  const simulated = simulate(trial, { base, count: devices.length, ...surroundings });
  return { name: trial.name, measured, simulated, ...surroundings };
}

interface Surroundings extends Pick<Comparison, 'relayShare' | 'clientShare' | 'downMs'> {
  readonly base: Setup;
  readonly count: number;
}

function simulate({ isOneAddress }: Trial, surroundings: Surroundings): Times {
  const { base, count, downMs, relayShare, clientShare } = surroundings;
  const { costs } = base;
  const simulation = new Simulation({
    ...base,
    ...{ devices: count, joining: 0, pods: 1, width: undefined, isOneClient: true },
    costs: {
      ...costs,
      refuse: costs.refuse / relayShare,
      tls: costs.tls / relayShare,
      proof: costs.proof / relayShare,
      clientTls: costs.clientTls / clientShare,
      clientProof: costs.clientProof / clientShare,
      redisAcquire: 0,
    },
    drain: { ...base.drain, pods: 0 },
    network: {
      ...ASSUMED,
      minRttMs: LOOPBACK_RTT_MS,
      maxRttMs: LOOPBACK_RTT_MS,
      redisRttMs: 0,
      balancerNoticesMs: 0,
      callsPerSecond: 0,
      devicesPerAddress: isOneAddress ? count : 1,
    },
    maxMs: MAX_MS,
  });
  simulation.life.kill([0]);
  simulation.world.after(downMs, Kind.up, 0);
  const { p50Ms, p99Ms, allMs } = simulation.run(downMs);
  return { p50Ms, p99Ms, allMs };
}

/** Since a process was looked at first. */
function shareOf({ ranMs, waitedMs }: Scheduled, before: Scheduled = { ranMs: 0, waitedMs: 0 }) {
  const ran = ranMs - before.ranMs;
  return ran / (ran + waitedMs - before.waitedMs);
}

async function measure(
  { isOneAddress }: Trial,
  material: Material,
  devices: readonly TestDevice[],
): Promise<Pick<Comparison, 'relayShare' | 'clientShare' | 'downMs'> & { backMs: number[] }> {
  const start = (devicesAllowed: number, port: number) =>
    startProgram('dist/tool-relay/main.mjs', [
      '--config',
      configured(material, {
        devices: { connectsPerAddress: devicesAllowed },
        sockets: { port },
      }),
    ]);
  const first = await start(devices.length, 0);
  const url = `${first.ready.socketUrl}/v1/device`;
  const shared: Shared = {
    url,
    secureContext: createSecureContext({ ca: material.authority.ca }),
    backoff: bridgeBackoff(),
    left: devices.length,
    allBack: Promise.withResolvers<void>(),
  };
  const bridges = devices.map((device, index) => {
    const host = isOneAddress ? 1 : index + 2;
    return new SmallBridge(device, `127.0.${host >> 8}.${host & 255}`, shared);
  });
  await inTurns(bridges.length, async (index) => {
    while (!(await bridges[index - 1]?.connect()));
  });
  const killedMs = performance.now();
  for (const bridge of bridges) bridge.isStaying = true;
  await first.stop();
  const defaultRate = 50;
  const second = await start(defaultRate, Number(new URL(url).port));
  const downMs = performance.now() - killedMs;
  const [clientBefore, relayBefore] = [scheduledMs(process.pid), second.scheduledMs()];
  await shared.allBack.promise;
  const relayShare = shareOf(second.scheduledMs(), relayBefore);
  const clientShare = shareOf(scheduledMs(process.pid), clientBefore);
  for (const bridge of bridges) bridge.stop();
  await second.stop();
  return {
    relayShare,
    clientShare,
    downMs,
    backMs: bridges.map(({ backAtMs }) => backAtMs - killedMs),
  };
}

interface Shared {
  readonly url: string;
  readonly secureContext: SecureContext;
  readonly backoff: BackoffRange;
  left: number;
  readonly allBack: PromiseWithResolvers<void>;
}

/** Dials as a bridge does: the same backoff, the same handshake, and no calls. */
class SmallBridge {
  backAtMs = 0;
  isStaying = false;
  readonly #device: TestDevice;
  readonly #address: string;
  readonly #shared: Shared;
  readonly #backoff: Backoff;
  #client: LeanDevice | undefined;

  constructor(device: TestDevice, address: string, shared: Shared) {
    this.#device = device;
    this.#address = address;
    this.#shared = shared;
    this.#backoff = new Backoff(shared.backoff);
  }

  /** Resolves when the attempt is over, with whether it succeeded. */
  connect(): Promise<boolean> {
    const { url, secureContext } = this.#shared;
    const client = new LeanDevice(
      { url, secureContext, localAddress: this.#address },
      this.#device,
    );
    this.#client = client;
    return new Promise((resolve) => {
      client.onWelcome = () => {
        this.#live();
        resolve(true);
      };
      client.onClose = () => {
        this.#lost();
        resolve(false);
      };
    });
  }

  stop(): void {
    this.isStaying = false;
    this.#client?.terminate();
  }

  #live(): void {
    this.#backoff.reset();
    // The machine may be so busy that a device is cut once more.
    if (!this.isStaying || this.backAtMs > 0) return;
    this.backAtMs = performance.now();
    this.#shared.left -= 1;
    if (this.#shared.left === 0) this.#shared.allBack.resolve();
  }

  #lost(): void {
    if (!this.isStaying) return;
    setTimeout(() => void this.connect(), this.#backoff.nextMs());
  }
}
