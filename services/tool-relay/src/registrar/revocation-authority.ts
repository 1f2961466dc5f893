import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import {
  type CredentialFacts,
  MAX_REVOKED_DEVICES,
  REVOCATION_LIST,
  type RevocationList,
} from '@zerolatency/revocations';
import { counted } from '@zerolatency/service/counted';
import { openDocument, type Signer, signDocument } from '@zerolatency/signing';
import type { Clock, Log } from '../ports.ts';

/** Where the list survives a restart. */
export interface ListStore {
  /** Names the place in errors. */
  readonly name: string;
  /** Undefined before the first list. */
  load(): Promise<string | undefined>;
  /** Resolves once the list would survive a crash. */
  save(envelope: string): Promise<void>;
  /** 0 before the first. */
  loadLastIssuedMs(): Promise<number>;
  /** Resolves once the time would survive a crash. */
  saveLastIssuedMs(unixMs: number): Promise<void>;
}

export interface RevocationAuthorityDeps {
  readonly store: ListStore;
  readonly signer: Signer;
  /** The public key of the signer. */
  readonly publicPem: string;
  readonly clock: Pick<Clock, 'unixMs'>;
  /** Every credential has expired this long after it was issued. */
  readonly retentionMs: number;
  readonly log: Log;
}

export interface RevokedDevice {
  readonly revokedAtMs: number;
  readonly version: number;
}

/** What a watcher is sent. */
export interface ListUpdate {
  readonly version: number;
  /** Empty when the watcher has this version. */
  readonly envelope: string;
}

const HEARTBEAT_MS = 5_000;

type ListedDevice = RevocationList['devices'][number];

interface Held {
  readonly list: RevocationList;
  readonly envelope: string;
}

/** Signs the revocation list, and tells everyone who watches it. */
export class RevocationAuthority {
  readonly #deps: RevocationAuthorityDeps;
  readonly #watchers = new Set<() => void>();
  #held: Held;
  /** By the registrar's clock, which may have been set back since. */
  #lastIssuedMs: number;
  /** No credential states a later time than the one that is kept. */
  #keptIssuedMs: number;
  #keeping: Promise<void> | undefined;
  #lastChange: Promise<unknown> = Promise.resolve();
  #failure: ZlError | undefined;

  private constructor(deps: RevocationAuthorityDeps, held: Held, lastIssuedMs: number) {
    this.#deps = deps;
    this.#held = held;
    this.#lastIssuedMs = lastIssuedMs;
    this.#keptIssuedMs = lastIssuedMs;
  }

  static async open(deps: RevocationAuthorityDeps): Promise<RevocationAuthority> {
    const { store, log } = deps;
    const lastIssuedMs = await store.loadLastIssuedMs();
    const kept = await readList(deps);
    if (kept !== undefined) return new RevocationAuthority(deps, kept, lastIssuedMs);
    // From version 1 on: relays that have seen a later one keep it, and say that this one is older.
    log.warn({ file: store.name }, 'no revocation list is there, so an empty one is made');
    const held = await sign(deps, { version: 1, devices: [] });
    return new RevocationAuthority(deps, held, lastIssuedMs);
  }

  status() {
    const { version, devices } = this.#held.list;
    const detail = `version ${version}, ${counted(devices.length, 'device')}`;
    if (this.#failure === undefined) return { status: 'ok', detail } as const;
    return { status: 'degraded', detail: `${detail}; ${this.#failure.message}` } as const;
  }

  get figures() {
    const { version, devices } = this.#held.list;
    return { version, devices: devices.length, silentSeconds: Number.NaN };
  }

  /** One at a time, so that no two lists have the same version. */
  revoke(device: DeviceIdentity, operator: string): Promise<RevokedDevice> {
    return this.#inTurn(() => this.#revoke(device, operator));
  }

  /** A revoked device has enrolled again, so it must no longer be reported as revoked. */
  enrolledAgain(device: DeviceIdentity): Promise<void> {
    return this.#inTurn(async () => {
      const entry = this.#entryOf(device);
      if (entry === undefined || entry.enrolledAt !== undefined) return;
      const enrolledAt = new Date(this.#deps.clock.unixMs()).toISOString();
      await this.#publish(this.#expiring(entry), { ...entry, enrolledAt });
    });
  }

  /** Why the credential must not be renewed; undefined when it may. */
  fault({ issuedAtMs = 0, ...device }: CredentialFacts): ZlError | undefined {
    const entry = this.#entryOf(device);
    if (entry === undefined || issuedAtMs > Date.parse(entry.revokedAt)) return undefined;
    return new ZlError('device.revoked', `${device.deviceId} of ${device.tenant} was revoked`);
  }

  /**
   * The time that a new credential states: later than the revocation, whatever the clock shows.
   * Resolves once a restart with a clock set back could still revoke it.
   */
  async issueMs(device: DeviceIdentity): Promise<number> {
    const nowMs = this.#deps.clock.unixMs();
    const entry = this.#entryOf(device);
    const issuedMs =
      entry === undefined ? nowMs : Math.max(nowMs, Date.parse(entry.revokedAt) + 1000);
    this.#lastIssuedMs = Math.max(this.#lastIssuedMs, issuedMs);
    while (this.#keptIssuedMs < issuedMs) {
      this.#keeping ??= this.#keepIssued().finally(() => {
        this.#keeping = undefined;
      });
      await this.#keeping;
    }
    return issuedMs;
  }

  /** Credentials state whole seconds, so one write serves all that are issued within a second. */
  async #keepIssued(): Promise<void> {
    const { store } = this.#deps;
    const untilMs = Math.ceil(this.#lastIssuedMs / 1000) * 1000;
    await store.saveLastIssuedMs(untilMs).catch((cause: unknown) => {
      throw unusable(store.name, cause);
    });
    this.#keptIssuedMs = untilMs;
  }

  /** The list at once, then each later one, and something at least every five seconds. */
  async *watch(version: number, signal: AbortSignal): AsyncGenerator<ListUpdate> {
    let known = version;
    while (!signal.aborted) {
      const { list, envelope } = this.#held;
      yield { version: list.version, envelope: list.version === known ? '' : envelope };
      known = list.version;
      if (this.#held.list === list) await this.#changeOrHeartbeat(signal);
    }
  }

  async #revoke(device: DeviceIdentity, operator: string): Promise<RevokedDevice> {
    const { clock, log } = this.#deps;
    const { tenant, deviceId } = device;
    const revokedAtMs = Math.max(clock.unixMs(), this.#lastIssuedMs);
    const entry = { tenant, device: deviceId, revokedAt: new Date(revokedAtMs).toISOString() };
    const others = this.#expiring(entry);
    if (others.length >= MAX_REVOKED_DEVICES) {
      const why = `the revocation list holds ${MAX_REVOKED_DEVICES} devices, and no more fit`;
      throw new ZlError('limit.exceeded', why);
    }
    const version = await this.#publish(others, entry);
    log.info({ tenant, deviceId, operator, revokedAtMs, version }, 'device revoked');
    return { revokedAtMs, version };
  }

  /** The other entries, without those whose credentials have all expired. */
  #expiring({ tenant, device }: Pick<ListedDevice, 'tenant' | 'device'>): ListedDevice[] {
    const { clock, retentionMs } = this.#deps;
    const nowMs = clock.unixMs();
    return this.#held.list.devices.filter(
      (entry) =>
        (entry.tenant !== tenant || entry.device !== device) &&
        Date.parse(entry.revokedAt) + retentionMs > nowMs,
    );
  }

  /** Returns the version of the next list. */
  async #publish(others: readonly ListedDevice[], entry: ListedDevice): Promise<number> {
    try {
      await this.#expectOwnList();
      const version = this.#held.list.version + 1;
      this.#held = await sign(this.#deps, { version, devices: [...others, entry] });
      this.#failure = undefined;
      for (const changed of [...this.#watchers]) changed();
      return version;
    } catch (reason) {
      this.#failure = fromUnknown(reason);
      throw reason;
    }
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const change = this.#lastChange.then(run);
    this.#lastChange = change.catch(() => {});
    return change;
  }

  /** Two registrars would sign the same version, and each would lose what the other one revoked. */
  async #expectOwnList(): Promise<void> {
    const { store } = this.#deps;
    const kept = await store.load().catch((cause: unknown) => {
      throw unusable(store.name, cause);
    });
    if (kept === undefined || kept === this.#held.envelope) return;
    const why = 'another program changed it; run one registrar with it, and restart that one';
    throw unusable(store.name, new Error(why));
  }

  #entryOf({ tenant, deviceId }: DeviceIdentity): ListedDevice | undefined {
    return this.#held.list.devices.find(
      (listed) => listed.tenant === tenant && listed.device === deviceId,
    );
  }

  #changeOrHeartbeat(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#watchers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, HEARTBEAT_MS);
      this.#watchers.add(done);
      signal.addEventListener('abort', done);
    });
  }
}

/** Undefined before the first list. @throws ZlError file.unusable. */
export async function readList({
  store,
  publicPem,
}: Pick<RevocationAuthorityDeps, 'store' | 'publicPem'>): Promise<Held | undefined> {
  const kept = await store.load().catch((cause: unknown) => {
    throw unusable(store.name, cause);
  });
  if (kept === undefined) return undefined;
  const opened = openDocument(REVOCATION_LIST, kept, [publicPem]);
  // An empty list in its place would let revoked devices in again.
  if ('error' in opened) throw unusable(store.name, opened.error);
  return { list: opened.content, envelope: kept };
}

async function sign(
  { store, signer, clock }: RevocationAuthorityDeps,
  list: Pick<RevocationList, 'version' | 'devices'>,
): Promise<Held> {
  const issuedAt = new Date(clock.unixMs()).toISOString();
  const content: RevocationList = {
    ...{ schema: 'zerolatency.revocations/v1', id: 'registrar' },
    ...{ ...list, issuedAt },
  };
  const envelope = await signDocument(REVOCATION_LIST, content, [signer]);
  // First, so that no crash can take back what an operator was told.
  await store.save(envelope).catch((cause: unknown) => {
    throw unusable(store.name, cause);
  });
  return { list: content, envelope };
}

function unusable(name: string, cause: unknown): ZlError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ZlError('file.unusable', `the revocation list ${name} is unusable: ${why}`, { cause });
}
