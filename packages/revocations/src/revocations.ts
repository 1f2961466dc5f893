import { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import { counted } from '@zerolatency/service/counted';
import { writeAtomically } from '@zerolatency/service/files';
import {
  DocumentHolder,
  type DocumentHolderOptions,
  type DocumentState,
  openFloorFile,
  type RefusalReason,
  watchDocument,
} from '@zerolatency/signing';
import { followLists, type RegistrarClient } from './registrar-client.ts';
import { keyOf, REVOCATION_LIST, type RevocationList } from './revocation-list.ts';

/** What a list judges a credential by. */
export interface CredentialFacts extends DeviceIdentity {
  /** Absent when the credential does not state it. */
  readonly issuedAtMs?: number | undefined;
}

/** The revocation list in force. Without one nobody knows who is revoked, so nobody is admitted. */
export class RevocationHolder extends DocumentHolder<RevocationList> {
  #entries: ReadonlyMap<string, Entry> | undefined;

  constructor(options: DocumentHolderOptions) {
    super(REVOCATION_LIST, options);
    this.onChange((now) => {
      this.#entries = indexOf(now);
    });
  }

  /** Why the credential must not be used; undefined when it may. */
  fault({ tenant, deviceId, issuedAtMs = 0 }: CredentialFacts): ZlError | undefined {
    if (this.#entries === undefined) {
      return new ZlError('revocations.unavailable', 'there is no valid revocation list');
    }
    const entry = this.#entries.get(keyOf(tenant, deviceId));
    if (entry === undefined || issuedAtMs > entry.revokedAtMs) return undefined;
    return revoked({ tenant, deviceId }, entry);
  }

  /** Why a device that is not connected cannot connect; undefined when it may, as far as the list says. */
  absence(device: DeviceIdentity): ZlError | undefined {
    const entry = this.#entries?.get(keyOf(device.tenant, device.deviceId));
    return entry === undefined || entry.isEnrolledAgain ? undefined : revoked(device, entry);
  }
}

interface Entry {
  readonly revokedAtMs: number;
  readonly isEnrolledAgain: boolean;
}

function revoked({ tenant, deviceId }: DeviceIdentity, { revokedAtMs }: Entry): ZlError {
  const at = new Date(revokedAtMs).toISOString();
  return new ZlError('device.revoked', `${deviceId} of ${tenant} was revoked at ${at}`);
}

function indexOf(now: DocumentState<RevocationList>): ReadonlyMap<string, Entry> | undefined {
  if (now.state === 'none') return undefined;
  return new Map(
    now.content.devices.map(({ tenant, device, revokedAt, enrolledAt }) => [
      keyOf(tenant, device),
      { revokedAtMs: Date.parse(revokedAt), isEnrolledAgain: enrolledAt !== undefined },
    ]),
  );
}

export interface RevocationFiles {
  /** The signed list. */
  readonly file: string;
  /** Keys that may sign it. */
  readonly keysDir: string;
  /** Remembers the newest list ever accepted. */
  readonly stateFile: string;
}

export interface RevocationFigures {
  /** 0 without a list. */
  readonly version: number;
  readonly devices: number;
  /** How long the registrar has said nothing; NaN where none is followed. */
  readonly silentSeconds: number;
}

interface RevocationLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface WatchRevocationsOptions extends RevocationFiles {
  /** Whose lists are followed, and kept in the file for a start without it. */
  readonly registrar?: RegistrarClient | undefined;
  readonly log: RevocationLog;
  readonly onRefused: (reason: RefusalReason) => void;
  readonly pollMs?: number;
}

export interface Revocations {
  fault(credential: CredentialFacts): ZlError | undefined;
  /** Why a device that is not connected cannot connect; undefined when it may, as far as the list says. */
  absence(device: DeviceIdentity): ZlError | undefined;
  /** The devices that the list in force names, revoked or enrolled again since. */
  listed(): Iterable<DeviceIdentity>;
  /** Called at once with what is in force, and for each later list. */
  onChange(listener: (isInForce: boolean) => void): void;
  figures(): RevocationFigures;
  /** For a component report. */
  status(): { readonly status: 'ok' | 'degraded' | 'down'; readonly detail: string };
  /** Looks at the file now. */
  check(): Promise<void>;
  close(): void;
}

/** Resolves after the first look at the file, whatever it found. */
export async function watchRevocations(options: WatchRevocationsOptions): Promise<Revocations> {
  const { file, keysDir, stateFile, registrar, log, onRefused, pollMs } = options;
  const holder = new RevocationHolder({ floor: openFloorFile(stateFile) });
  const watch = await watchDocument({
    ...{ holder, file, keysDir, log },
    ...(pollMs !== undefined && { pollMs }),
    onRefused: ({ reason }) => onRefused(reason),
  });
  const current = () => holder.current(Date.now());
  const devices = () => {
    const now = current();
    return now.state === 'none' ? [] : now.content.devices;
  };
  const version = () => {
    const now = current();
    return now.state === 'none' ? 0 : now.content.version;
  };
  let refused: RefusedPush | undefined;
  const accept = async (envelope: string) => {
    const pushed = { ...options, holder, earlier: refused };
    refused = envelope === '' ? undefined : await acceptPushed(pushed, envelope);
    return refused === undefined;
  };
  const following = registrar && followLists({ client: registrar, version, accept, log });
  const figures = (): RevocationFigures => ({
    version: version(),
    devices: devices().length,
    silentSeconds: (following?.silentMs() ?? Number.NaN) / 1000,
  });
  return {
    fault: (credential) => holder.fault(credential),
    absence: (device) => holder.absence(device),
    listed: () => devices().map(({ tenant, device: deviceId }) => ({ tenant, deviceId })),
    onChange: (listener) => {
      holder.onChange(({ state }) => listener(state !== 'none'));
      listener(current().state !== 'none');
    },
    figures,
    status: () => statusOf(current(), watch.refusal() ?? refused?.error, figures().silentSeconds),
    check: () => watch.check(),
    close: () => {
      following?.close();
      watch.close();
    },
  };
}

/** A list of the registrar that is not in force here. */
interface RefusedPush {
  readonly envelope: string;
  readonly reason: RefusalReason;
  readonly error: ZlError;
}

interface PushOptions extends WatchRevocationsOptions {
  readonly holder: RevocationHolder;
  /** What was reported already. */
  readonly earlier: RefusedPush | undefined;
}

/** The holder decides, so that a registrar that was stolen or restored can set nothing back. */
async function acceptPushed(
  { holder, earlier, file, log, onRefused }: PushOptions,
  envelope: string,
): Promise<RefusedPush | undefined> {
  const offered = await holder.offer(envelope, Date.now());
  if ('error' in offered) {
    const { error } = offered;
    const { id: errorId, help, message, reason } = error;
    if (earlier?.envelope !== envelope || earlier.reason !== reason) {
      log.warn({ errorId, help }, `from the registrar: ${message}`);
      onRefused(reason);
    }
    return { envelope, reason, error };
  }
  if (!('installed' in offered)) return undefined;
  const { version } = offered.installed.content;
  log.info({ version }, 'revocation list installed');
  await writeAtomically(file, envelope).catch((err: unknown) => {
    log.warn({ err, file }, 'the revocation list is in force and could not be kept for a restart');
  });
  return undefined;
}

/** A dozen of the registrar's heartbeats. */
const STALE_SECONDS = 60;

/** Throws what is wrong with the files. Writes nothing. */
export async function expectRevocations(files: RevocationFiles, log: RevocationLog): Promise<void> {
  const floor = { load: openFloorFile(files.stateFile).load, save: async () => {} };
  const holder = new RevocationHolder({ floor });
  const watch = await watchDocument({ holder, file: files.file, keysDir: files.keysDir, log });
  watch.close();
  const refusal = watch.refusal();
  if (refusal !== undefined) throw refusal;
}

function statusOf(
  now: DocumentState<RevocationList>,
  refusal: ZlError | undefined,
  silentSeconds: number,
) {
  const isStale = silentSeconds > STALE_SECONDS;
  const why =
    (refusal === undefined ? '' : `; ${refusal.message}. ${refusal.help}`) +
    (isStale ? `; no word from the registrar for ${Math.round(silentSeconds)} s` : '');
  if (now.state === 'none') {
    return { status: 'down', detail: `no list, so no device is admitted${why}` } as const;
  }
  const detail = `${now.name}, ${counted(now.content.devices.length, 'device')}${why}`;
  return { status: refusal === undefined && !isStale ? 'ok' : 'degraded', detail } as const;
}
