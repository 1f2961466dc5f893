import { readFile } from 'node:fs/promises';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { ErrorId } from '@zerolatency/errors';
import { AgentService, CallOutcome } from '@zerolatency/proto/agent';
import { ClientSessions } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { readToken } from '../../services/cli/src/chat/token.ts';
import { connectionError } from '../../services/cli/src/connection/connection-error.ts';
import type { World } from './world.ts';

/** Where a call waits for the test. */
export type Stop = 'received' | 'acted';

/** How the client of a call saw it end. */
export type Ending =
  | { readonly name: 'open' }
  | {
      readonly name: 'ended';
      readonly outcome: string;
      readonly errorId: string;
      readonly isRetryable: boolean;
    }
  /** The host said so before it made a call of it. */
  | { readonly name: 'refused'; readonly errorId: string }
  /** The host died; only the ledger knows. */
  | { readonly name: 'lost' };

export interface Asked {
  readonly key: string;
  /** Canonical, as the salted digest of the ledger covers them. */
  readonly argumentsJson: string;
  readonly startedMs: number;
  readonly deadlineMs: number;
  callId: string;
  endedMs: number;
  ending: Ending;
}

interface LoadOptions {
  readonly callers: number;
  readonly random: () => number;
}

interface Plan {
  readonly stopAt?: Stop;
  readonly timeoutMs?: number;
}

const SHORT_BYTES = 100;
/** More than the window of a call, so that it needs CREDIT. */
const LONG_BYTES = 300_000;
const LONG_SHARE = 0.03;
const MAX_WAIT_MS = 60;
/** Some calls meet their deadline while a process is down. */
const TIMEOUTS_MS = [3_000, 8_000, 15_000];
const STOPPED_TIMEOUT_MS = 15_000;
const AWAY_MS = 50;
const MAX_TOKEN_AGE_MS = 60_000;

/** Calls the counting tool, several at a time, until it is stopped. */
export class Load {
  readonly asked: Asked[] = [];
  readonly #world: World;
  readonly #random: () => number;
  readonly #callers: Promise<void>[];
  readonly #extra: Promise<void>[] = [];
  #isOver = false;
  readonly #connection: ClientSessions;
  readonly #client: Client<typeof AgentService>;
  #token: { readonly text: Promise<string>; readonly atMs: number } | undefined;
  #ended = 0;

  static async start(world: World, options: LoadOptions): Promise<Load> {
    const { url, caFile } = world.system.settings.host;
    return new Load(
      world,
      options,
      new ClientSessions(url, { ca: await readFile(caFile, 'utf8') }),
    );
  }

  private constructor(world: World, { callers, random }: LoadOptions, connection: ClientSessions) {
    this.#world = world;
    this.#random = random;
    this.#connection = connection;
    const authorize: Interceptor = (next) => async (request) => {
      request.header.set('authorization', `Bearer ${await this.#freshToken()}`);
      return await next(request);
    };
    const transport = createGrpcTransport({
      baseUrl: world.system.settings.host.url,
      sessionManager: connection,
      interceptors: [authorize],
    });
    this.#client = createClient(AgentService, transport);
    this.#callers = Array.from({ length: callers }, () => this.#callOn());
  }

  /** Calls whose end the client saw. */
  get ended(): number {
    return this.#ended;
  }

  async passed(count: number): Promise<void> {
    const wanted = this.#ended + count;
    const isPassed = eventually(() => this.#ended >= wanted, { timeoutMs: 120_000 });
    await Promise.race([isPassed, Promise.all(this.#callers)]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#callers, ...this.#extra]);
    this.#connection.abort();
  }

  /** For a run that failed: the callers would go on for ever. */
  abandon(): void {
    this.#isOver = true;
    this.#connection.abort();
  }

  /** One more call beside those of the callers. */
  begin(plan: Plan): Asked {
    const asked = this.#ask(plan);
    this.#extra.push(this.#end(asked));
    return asked;
  }

  #ask({ stopAt, timeoutMs }: Plan = {}): Asked {
    const pick = <T>(values: readonly T[]) => values[Math.floor(this.#random() * values.length)];
    const key = `k${this.asked.length}`;
    const size = this.#random() < LONG_SHARE ? LONG_BYTES : SHORT_BYTES;
    const waitMs = Math.floor(this.#random() * MAX_WAIT_MS);
    const limitMs = timeoutMs ?? (stopAt ? STOPPED_TIMEOUT_MS : pick(TIMEOUTS_MS)) ?? 0;
    const startedMs = Date.now();
    const asked: Asked = {
      key,
      argumentsJson: JSON.stringify({ key, size, stopAt: stopAt ?? '', waitMs }),
      startedMs,
      deadlineMs: startedMs + limitMs,
      callId: '',
      endedMs: 0,
      ending: { name: 'open' },
    };
    this.asked.push(asked);
    return asked;
  }

  async #end(asked: Asked): Promise<void> {
    asked.ending = await this.#follow(asked, asked.deadlineMs - asked.startedMs);
    asked.endedMs = Date.now();
    if (asked.ending.name === 'ended') this.#ended += 1;
  }

  async #callOn(): Promise<void> {
    while (!this.#isOver) {
      const asked = this.#ask();
      await this.#end(asked);
      if (asked.ending.name === 'ended' || this.#isOver) continue;
      // Asked again at once, a host that is down would fill the record with calls that never were.
      await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
    }
  }

  async #follow(asked: Asked, limitMs: number): Promise<Ending> {
    const { settings } = this.#world.system;
    let ending: Ending = { name: 'open' };
    try {
      const timeout = {
        seconds: BigInt(Math.floor(limitMs / 1000)),
        nanos: (limitMs % 1000) * 1e6,
      };
      const { tool } = this.#world;
      const { deviceId } = settings;
      const request = { tool, argumentsJson: asked.argumentsJson, deviceId, timeout };
      for await (const { event } of this.#client.callTool(request)) {
        const happened = event?.event;
        if (happened?.case === 'toolCallStarted') asked.callId = happened.value.callId;
        else if (happened?.case === 'toolCallDone') ending = endingOf(happened.value);
        else if (happened?.case === 'error' && ending.name === 'open') {
          ending = { name: 'refused', errorId: happened.value.id };
        }
      }
      return ending.name === 'open' ? { name: 'lost' } : ending;
    } catch (reason) {
      if (ending.name !== 'open') return ending;
      return lostOr(reason, settings.host.url);
    }
  }

  /** An access token that is good for this call. */
  #freshToken(): Promise<string> {
    const atMs = performance.now();
    if (this.#token === undefined || atMs - this.#token.atMs > MAX_TOKEN_AGE_MS) {
      this.#token = { text: readToken(this.#world.system.settings.identity), atMs };
    }
    return this.#token.text;
  }
}

interface Done {
  readonly outcome: CallOutcome;
  readonly error?: { readonly id: string; readonly retryable: boolean } | undefined;
}

function endingOf({ outcome, error }: Done): Ending {
  return {
    name: 'ended',
    outcome: CallOutcome[outcome] ?? '',
    errorId: error?.id ?? '',
    isRetryable: error?.retryable ?? false,
  };
}

/** `lost` where the connection broke: the host may have begun. */
function lostOr(reason: unknown, url: string): Ending {
  const LOST: ErrorId = 'host.lost';
  const { id } = connectionError(reason, { url, unreachable: 'host.unreachable', lost: LOST });
  return id === LOST ? { name: 'lost' } : { name: 'refused', errorId: id };
}
