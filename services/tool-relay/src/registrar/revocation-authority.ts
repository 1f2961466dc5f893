import { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import {
  type CredentialFacts,
  MAX_REVOKED_DEVICES,
  REVOCATION_LIST,
  type RevocationList,
} from '@zerolatency/revocations';
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
  #lastIssuedMs = 0;
  #lastChange: Promise<unknown> = Promise.resolve();

  private constructor(deps: RevocationAuthorityDeps, held: Held) {
    this.#deps = deps;
    this.#held = held;
  }

  static async open(deps: RevocationAuthorityDeps): Promise<RevocationAuthority> {
    const { store, publicPem, log } = deps;
    const kept = await store.load();
    if (kept !== undefined) {
      const opened = openDocument(REVOCATION_LIST, kept, [publicPem]);
      // An empty list in its place would let revoked devices in again.
      if ('error' in opened) throw unusable(store.name, opened.error);
      return new RevocationAuthority(deps, { list: opened.content, envelope: kept });
    }
    // From version 1 on: relays that have seen a later one keep it, and say that this one is older.
    log.warn({ file: store.name }, 'no revocation list is there, so an empty one is made');
    const held = await sign(deps, { version: 1, devices: [] });
    return new RevocationAuthority(deps, held);
  }

  get figures() {
    const { version, devices } = this.#held.list;
    return { version, devices: devices.length, silentSeconds: Number.NaN };
  }

  /** One at a time, so that no two lists have the same version. */
  revoke(device: DeviceIdentity, operator: string): Promise<RevokedDevice> {
    const change = this.#lastChange.then(() => this.#revoke(device, operator));
    this.#lastChange = change.catch(() => {});
    return change;
  }

  /** Why the credential must not be renewed; undefined when it may. */
  fault({ issuedAtMs = 0, ...device }: CredentialFacts): ZlError | undefined {
    const revokedAtMs = this.#revokedAtMs(device);
    if (revokedAtMs === undefined || issuedAtMs > revokedAtMs) return undefined;
    return new ZlError('device.revoked', `${device.deviceId} of ${device.tenant} was revoked`);
  }

  /** The time that a new credential states: later than the revocation, whatever the clock shows. */
  issueMs(device: DeviceIdentity, nowMs: number): number {
    const revokedAtMs = this.#revokedAtMs(device);
    const issuedMs = revokedAtMs === undefined ? nowMs : Math.max(nowMs, revokedAtMs + 1000);
    this.#lastIssuedMs = Math.max(this.#lastIssuedMs, issuedMs);
    return issuedMs;
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
    const { clock, retentionMs, log } = this.#deps;
    const { tenant, deviceId } = device;
    await this.#expectOwnList();
    const nowMs = clock.unixMs();
    const revokedAtMs = Math.max(nowMs, this.#lastIssuedMs);
    const { list } = this.#held;
    const others = list.devices.filter(
      (entry) =>
        (entry.tenant !== tenant || entry.device !== deviceId) &&
        Date.parse(entry.revokedAt) + retentionMs > nowMs,
    );
    if (others.length >= MAX_REVOKED_DEVICES) {
      const why = `the revocation list holds ${MAX_REVOKED_DEVICES} devices, and no more fit`;
      throw new ZlError('limit.exceeded', why);
    }
    const entry = { tenant, device: deviceId, revokedAt: new Date(revokedAtMs).toISOString() };
    const version = list.version + 1;
    this.#held = await sign(this.#deps, { version, devices: [...others, entry] });
    log.info({ tenant, deviceId, operator, revokedAtMs, version }, 'device revoked');
    for (const changed of [...this.#watchers]) changed();
    return { revokedAtMs, version };
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

  #revokedAtMs({ tenant, deviceId }: DeviceIdentity): number | undefined {
    const entry = this.#held.list.devices.find(
      (listed) => listed.tenant === tenant && listed.device === deviceId,
    );
    return entry && Date.parse(entry.revokedAt);
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
