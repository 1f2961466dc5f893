import { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import type { Script } from '@zerolatency/service/redis';
import type {
  AcquiredLease,
  DeviceDescription,
  Directory,
  DirectoryEntry,
  Lease,
  PodAddress,
  ReplacedLease,
  StoreOperation,
} from '../../directory/directory.ts';
import type { Clock, Log } from '../../ports.ts';
import { readLeaseValue, writeLeaseValue } from './entry.ts';
import { ACQUIRE, LIST, LOCATE, RELEASE, RENEW, WITHDRAW } from './scripts.ts';

/** Runs the scripts of the directory while the store answers. */
export interface LeaseStore {
  run(
    operation: StoreOperation,
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown>;
}

export interface RedisDirectoryOptions {
  readonly store: LeaseStore;
  readonly pod: () => PodAddress;
  readonly ttlMs: number;
  readonly clock: Pick<Clock, 'unixMs'>;
  readonly log: Log;
}

/** Far longer than clocks differ, so that a lease never gets an earlier epoch than the one before. */
const KEEP_MS = 24 * 60 * 60 * 1000;
/** Ids that one script looks at, so that none holds up Redis. */
const LIST_CHUNK = 256;
/** Rounds of one listing, which drops ids without a lease on its way. */
const MAX_LIST_ROUNDS = 64;

/** Leases in Redis. One script, and so one round trip, for each operation on a device. */
export class RedisDirectory implements Directory {
  readonly #options: RedisDirectoryOptions;

  constructor(options: RedisDirectoryOptions) {
    this.#options = options;
  }

  async acquire(
    device: DeviceIdentity,
    description: DeviceDescription,
    lastEpoch = 0,
  ): Promise<AcquiredLease> {
    const { ttlMs } = this.#options;
    const answer = await this.#onDevice('acquire', ACQUIRE, device, [
      writeLeaseValue({ ...description, ...this.#options.pod() }),
      ttlMs,
      lastEpoch,
    ]);
    const [epoch, ...before] = readArray(answer);
    if (typeof epoch !== 'number') throw unreadable(device, 'its epoch is not a number');
    const { tenant, deviceId } = device;
    const lease = { tenant, deviceId, epoch, ...description };
    return { lease, replaced: readReplaced(device, before) };
  }

  async withdraw({ lease, replaced }: AcquiredLease): Promise<void> {
    const before =
      replaced === undefined
        ? ['', '', '']
        : [replaced.epoch, writeLeaseValue(replaced.entry), replaced.expiresAtMs];
    await this.#onDevice('withdraw', WITHDRAW, lease, [lease.epoch, ...before]);
  }

  async renew(leases: readonly Lease[]): Promise<readonly Lease[]> {
    const { ttlMs } = this.#options;
    const pod = this.#options.pod();
    const answers = await Promise.all(
      leases.map((lease) => {
        const value = writeLeaseValue({ ...lease, ...pod });
        return this.#onDevice('renew', RENEW, lease, [lease.epoch, value, ttlMs]);
      }),
    );
    return leases.filter((_lease, index) => answers[index] === 0);
  }

  async release(lease: Lease): Promise<void> {
    await this.#onDevice('release', RELEASE, lease, [lease.epoch]);
  }

  async locate(device: DeviceIdentity): Promise<DirectoryEntry | undefined> {
    const [deviceKey] = keysOf(device);
    const answer = await this.#options.store.run('locate', LOCATE, [deviceKey], []);
    const [epoch, value] = readArray(answer);
    if (epoch === undefined) return undefined;
    const entry = readEntry(device, Number(epoch), String(value));
    if ('error' in entry) throw unreadable(device, entry.error);
    return entry;
  }

  async list(
    tenant: string,
    { after, limit }: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]> {
    const { store, log } = this.#options;
    const entries: DirectoryEntry[] = [];
    let from = after;
    for (let round = 0; round < MAX_LIST_ROUNDS; round++) {
      const args = [devicePrefix(tenant), from, LIST_CHUNK, limit - entries.length];
      const answer = await store.run('list', LIST, [indexKey(tenant)], args);
      const [last, ...found] = readArray(answer);
      if (typeof last !== 'string') return entries;
      for (let at = 0; at + 2 < found.length; at += 3) {
        const device = { tenant, deviceId: String(found[at]) };
        const entry = readEntry(device, Number(found[at + 1]), String(found[at + 2]));
        // One lease that nobody can read keeps nobody from the others.
        if ('error' in entry) log.warn({ ...device, why: entry.error }, 'lease not listed');
        else entries.push(entry);
      }
      if (entries.length >= limit) return entries;
      from = last;
    }
    throw new ZlError('limit.exceeded', `too many expired leases of ${tenant}: list again`);
  }

  /** Every script on one device begins with the same arguments. */
  #onDevice(
    operation: keyof Directory,
    script: Script,
    device: DeviceIdentity,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const { store, clock } = this.#options;
    const first = [device.deviceId, clock.unixMs(), KEEP_MS];
    return store.run(operation, script, keysOf(device), [...first, ...args]);
  }
}

/** One hash tag for each tenant: a script of a Cluster reaches only keys of one slot. */
function devicePrefix(tenant: string): string {
  return `zl:{${tenant}}:device:`;
}

function indexKey(tenant: string): string {
  return `zl:{${tenant}}:devices`;
}

function keysOf({ tenant, deviceId }: DeviceIdentity): [string, string] {
  return [devicePrefix(tenant) + deviceId, indexKey(tenant)];
}

function readArray(answer: unknown): readonly unknown[] {
  if (Array.isArray(answer)) return answer;
  throw new ZlError('directory.degraded', 'Redis answered a script with something else');
}

function readEntry(
  { tenant, deviceId }: DeviceIdentity,
  epoch: number,
  text: string,
): DirectoryEntry | { readonly error: string } {
  if (!Number.isSafeInteger(epoch) || epoch <= 0) return { error: 'its epoch is not a number' };
  const { value, error } = readLeaseValue(text);
  return value === undefined ? { error: error ?? '' } : { tenant, deviceId, epoch, ...value };
}

/** What cannot be read is not restored; its holder's next renewal writes it again. */
function readReplaced(
  device: DeviceIdentity,
  [epoch, text, expires]: readonly unknown[],
): ReplacedLease | undefined {
  const entry = readEntry(device, Number(epoch), String(text));
  const expiresAtMs = Number(expires);
  if ('error' in entry || !Number.isSafeInteger(expiresAtMs)) return undefined;
  return { epoch: entry.epoch, entry, expiresAtMs };
}

function unreadable({ deviceId }: DeviceIdentity, why: string): ZlError {
  return new ZlError(
    'directory.degraded',
    `the lease of ${deviceId} in Redis cannot be read: ${why}`,
  );
}
