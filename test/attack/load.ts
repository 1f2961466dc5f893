import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { create } from '@bufbuild/protobuf';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import { eventually, type TestDevice } from '@zerolatency/testing';
import { wsDial } from '../../services/device-bridge/src/adapters/ws/dial.ts';
import { Connection } from '../../services/device-bridge/src/connection/connection.ts';
import { type Call, runTurn, type System } from '../e2e/system.ts';

export const CHATS = 8;
const CALLS_PER_TURN = 8;
const CALL_MS = 300;

/** 64 calls in flight, again and again, each of which leaves a trace. */
export class Load {
  readonly calls: Call[] = [];
  /** One for every call that a turn may have made. */
  readonly keys: string[] = [];
  readonly failedTurns: string[] = [];
  readonly #system: System;
  readonly #chats: Promise<void>[];
  #turns = 0;
  #isOver = false;

  constructor(system: System) {
    this.#system = system;
    this.#chats = Array.from({ length: CHATS }, () => this.#chat());
  }

  async passed(turns: number): Promise<void> {
    const wanted = this.#turns + turns;
    const ended = Promise.all(this.#chats);
    const isPassed = eventually(() => this.#turns >= wanted, { timeoutMs: 120_000 });
    await Promise.race([isPassed, ended]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#chats);
  }

  async #chat(): Promise<void> {
    const session = await this.#system.chat();
    while (!this.#isOver) {
      const key = randomUUID().replaceAll('-', '');
      const { calls, ending } = await runTurn(session, `act eight times ${key} ${CALL_MS} 100`);
      this.#turns += 1;
      this.calls.push(...calls);
      for (let nth = 1; nth <= CALLS_PER_TURN; nth++) this.keys.push(`${key}${nth}`);
      if (ending !== 'done') this.failedTurns.push(ending);
    }
    session.close();
  }
}

/** The address of the relay at which the device of the installation is live. */
export async function relayOfDevice({ settings }: System): Promise<string> {
  return await eventually(async () => {
    const status = JSON.parse(await text(connect(settings.bridge.controlSocket)));
    return status.state === 'live' ? String(status.relay) : undefined;
  });
}

export interface Simulated {
  readonly connection: Connection;
  /** Where it is live; undefined while it has no relay. */
  relay: string | undefined;
  lives: number;
  /** How often it had no relay after it had been live. */
  losses: number;
  liveAtMs: number;
}

/** A device without calls that connects as a bridge does. */
export function simulate(
  { credential, key }: TestDevice,
  ca: string,
  relays: readonly string[],
): Simulated {
  const dial = wsDial(() => ({ ca, timeoutMs: 10_000 }));
  const connection = new Connection({
    relays,
    dials: { websocket: dial, http_stream: dial },
    clock: {
      nowMs: Date.now,
      monotonicMs: () => performance.now(),
      setTimeout: (run, delayMs) => setTimeout(run, delayMs),
      clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
    },
    random: Math.random,
    journalId: new Uint8Array(16).fill(7),
    lastEpoch: 0,
    bridgeVersion: '0.1.0',
    limits: {
      ...{ handshakeMs: 10_000, retryWebSocketMs: 300_000, maxBufferedBytes: 1e6 },
      ...{ minBackoffMs: 250, maxBackoffMs: 30_000 },
    },
    loadIdentity: async () => ({ credential, key: key.privateKey }),
    catalog: () => create(CatalogSchema, {}),
    listener: {
      onLive: () => {
        device.lives += 1;
        device.liveAtMs = performance.now();
      },
      onLost: () => {
        device.losses += 1;
      },
      onFrame() {},
      onCredential() {},
      onIgnored() {},
      onRedirect() {},
      onState: (state) => {
        device.relay = state.name === 'live' ? state.wire.relay : undefined;
      },
      onAttempt() {},
    },
  });
  const device: Simulated = { connection, relay: undefined, lives: 0, losses: 0, liveAtMs: 0 };
  connection.start();
  return device;
}
