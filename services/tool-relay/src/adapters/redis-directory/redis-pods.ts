import { ZlError } from '@zerolatency/errors';
import type { Log } from '../../ports.ts';
import type { PodRecord } from '../../sharding/membership.ts';
import type { PodRegister } from '../../sharding/sharding.ts';
import { readPodValue, writePodValue } from './entry.ts';
import type { LeaseStore } from './redis-directory.ts';
import { LEAVE, PODS } from './scripts.ts';

const KEY = 'zl:pods';
/** Far more than a pool has. A key with more is not ours, and is removed. */
const MAX_PODS = 256;
const MAX_VALUE_BYTES = 2048;
/** No pod announces itself for longer. */
const MAX_TTL_MS = 60_000;

/** The pods of the pool in one hash: each announcement reads it, in one round trip. */
export class RedisPods implements PodRegister {
  readonly #store: LeaseStore;
  readonly #log: Log;
  /** Logged once, and not with each reading. */
  #unread = '';

  constructor(store: LeaseStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  async announce(pod: PodRecord, ttlMs: number): Promise<readonly PodRecord[]> {
    const args = [pod.relayId, writePodValue(pod), ttlMs, MAX_PODS, MAX_VALUE_BYTES, MAX_TTL_MS];
    const answer = await this.#store.run('pods', PODS, [KEY], args);
    if (!Array.isArray(answer))
      throw new ZlError('directory.degraded', 'Redis answered a script with something else');
    const pods: PodRecord[] = [];
    const unread: string[] = [];
    for (let at = 0; at + 1 < answer.length; at += 2) {
      const relayId = String(answer[at]);
      const { value, error } = readPodValue(String(answer[at + 1]));
      if (value?.relayId === relayId) pods.push(value);
      else unread.push(`${relayId}: ${error ?? 'it names another pod'}`);
    }
    this.#report(unread.sort());
    return pods;
  }

  #report(unread: readonly string[]): void {
    const said = unread.join(', ');
    if (said === this.#unread) return;
    this.#unread = said;
    if (said !== '') this.#log.warn({ count: unread.length, first: unread[0] }, 'pods not read');
  }

  async leave(relayId: string): Promise<void> {
    await this.#store.run('leave', LEAVE, [KEY], [relayId]);
  }
}
