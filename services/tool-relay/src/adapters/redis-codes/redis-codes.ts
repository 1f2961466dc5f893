import { createHash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import type { Clock } from '../../ports.ts';
import type { CodeStore, Invitation } from '../../registrar/code-store.ts';
import type { ConnectionEvents, ScriptRunner } from '../redis-directory/connection.ts';
import type { Script } from '../redis-directory/scripts.ts';

export interface RedisCodesOptions {
  readonly clock: Pick<Clock, 'unixMs'>;
  readonly connect: (events: ConnectionEvents) => ScriptRunner;
}

/** ARGV: invitation, ttlMs. */
const ADD = script("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])");
const READ = script("return redis.call('GET', KEYS[1])");
const TAKE = script(`
local invitation = redis.call('GET', KEYS[1])
if invitation then redis.call('DEL', KEYS[1]) end
return invitation
`);

/** Codes outlive a restart of the registrar. Redis holds hashes, and removes them in time. */
export class RedisCodes implements CodeStore {
  readonly #clock: RedisCodesOptions['clock'];
  readonly #redis: ScriptRunner;
  #fault: string | undefined = 'not connected yet';

  constructor({ clock, connect }: RedisCodesOptions) {
    this.#clock = clock;
    this.#redis = connect({
      onReady: () => {
        this.#fault = undefined;
      },
      onError: (error) => {
        this.#fault = error instanceof Error ? error.message : String(error);
      },
    });
  }

  async add(codeHash: string, invitation: Invitation): Promise<boolean> {
    const ttlMs = Math.ceil(invitation.expiresAtMs - this.#clock.unixMs());
    if (ttlMs > 0) await this.#run(ADD, codeHash, [JSON.stringify(invitation), ttlMs]);
    return true;
  }

  async has(codeHash: string): Promise<boolean> {
    return this.#read(await this.#run(READ, codeHash)) !== undefined;
  }

  async take(codeHash: string): Promise<Invitation | undefined> {
    return this.#read(await this.#run(TAKE, codeHash));
  }

  status() {
    if (this.#fault === undefined) return { status: 'ok', detail: 'redis' } as const;
    return { status: 'degraded', detail: `without redis: ${this.#fault}` } as const;
  }

  close(): void {
    this.#redis.close();
  }

  async #run(command: Script, codeHash: string, args: readonly (string | number)[] = []) {
    // After the first try the connection is made again by itself.
    await this.#redis.firstTry.catch(() => {});
    try {
      return await this.#redis.run(command, [`zl:code:${codeHash}`], args);
    } catch (cause) {
      const why = 'the registrar cannot reach the Redis with its codes';
      throw new ZlError('peer.unavailable', why, { cause });
    }
  }

  /** Undefined for what we did not write, too. */
  #read(answer: unknown): Invitation | undefined {
    const invitation = typeof answer === 'string' ? parse(answer) : undefined;
    if (invitation === undefined) return undefined;
    return this.#clock.unixMs() < invitation.expiresAtMs ? invitation : undefined;
  }
}

function script(lua: string): Script {
  return { lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

function parse(text: string): Invitation | undefined {
  try {
    const { tenant, deviceId, issuedAtMs, expiresAtMs } = JSON.parse(text);
    const hasNames = typeof tenant === 'string' && typeof deviceId === 'string';
    const hasTimes = Number.isFinite(issuedAtMs) && Number.isFinite(expiresAtMs);
    return hasNames && hasTimes ? { tenant, deviceId, issuedAtMs, expiresAtMs } : undefined;
  } catch {
    // Not JSON, or null.
    return undefined;
  }
}
