import { JournalClock } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { type Frame, JOURNAL_CLOCK_FEATURE } from '@zerolatency/frame';
import type { Opened } from '@zerolatency/proto/link';
import { steadyClock } from '@zerolatency/service/steady-clock';
import type { RelayLimits } from './limits.ts';
import type { Link } from './link.ts';
import type { LocatedRelay } from './locator.ts';
import type { CheckedCredential, CredentialCheck } from './relay-client.ts';

/** A device's handle on the link to its relay. */
export interface Hop {
  readonly link: Link;
  readonly handle: number;
}

export interface OpenedDevice {
  readonly opened: Opened;
  /** From the same message, verified. */
  readonly credential: CheckedCredential;
  readonly clock: JournalClock | undefined;
}

export interface OpeningOptions {
  readonly tenant: string;
  readonly deviceId: string;
  readonly owner: LocatedRelay;
  readonly hop: Hop;
  readonly checkCredential: CredentialCheck;
  readonly limits: RelayLimits;
  /** The clock of the device's journal was read. */
  readonly onClock: (journalMs: number) => void;
  readonly onOpen: (device: OpenedDevice) => void;
  readonly onFailed: (error: ZlError) => void;
}

const BUSY = new ZlError('limit.exceeded', 'the relay takes no more calls to the device now');

/** A handle belongs to one connection of its device, whose catalog and credential may change. */
export function isSameConnection(a: Opened, b: Opened): boolean {
  return a.epoch === b.epoch;
}

export const OTHER_CONNECTION = new ZlError(
  'device.offline',
  'the relay holds another connection of it now',
);

/** From OPEN until the device's credential is verified and its clock was read, or one of them failed. */
export class Opening {
  readonly #options: OpeningOptions;
  readonly #timer: NodeJS.Timeout;
  /** The last one. */
  #opened: Opened | undefined;
  #clock: JournalClock | undefined;
  #isOver = false;

  constructor(options: OpeningOptions) {
    this.#options = options;
    this.#timer = setTimeout(() => this.#fail(this.#silence()), options.limits.dialTimeoutMs);
  }

  /** Nothing is reported after it. */
  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** For a frame that belongs to no call. */
  hear(frame: Frame): void {
    this.#clock?.hear(frame);
  }

  onOpened(opened: Opened): void {
    const { owner } = this.#options;
    if (this.#opened === undefined) {
      // A stalled old owner; the locator knows the newer one.
      if (Number(opened.epoch) < owner.epoch) this.#fail(OLD_LEASE);
      else void this.#check(opened);
    } else if (isSameConnection(this.#opened, opened)) {
      this.#opened = opened;
    } else {
      this.#fail(OTHER_CONNECTION);
    }
  }

  async #check(opened: Opened): Promise<void> {
    const { checkCredential, tenant, deviceId, onOpen } = this.#options;
    this.#opened = opened;
    const clock = this.#clockOf(opened);
    this.#clock = clock;
    // Asked meanwhile: no call is sent before the device's clock is known.
    const asked = clock?.ask();
    let checked: string;
    let credential: Awaited<ReturnType<CredentialCheck>>;
    do {
      checked = this.#opened.credential;
      credential = await checkCredential(checked, { tenant, deviceId });
      await asked;
      if (this.#isOver) return;
      // The device may have renewed it meanwhile.
    } while (this.#opened.credential !== checked);
    if ('error' in credential) {
      this.#fail(credential.error);
      return;
    }
    const fault = credential.fault();
    if (fault === undefined) {
      this.close();
      onOpen({ opened: this.#opened, credential, clock });
    } else {
      this.#fail(fault);
    }
  }

  #clockOf({ deviceFeatures, epoch, journalId }: Opened): JournalClock | undefined {
    if (!deviceFeatures.includes(JOURNAL_CLOCK_FEATURE)) return undefined;
    const { hop, onClock } = this.#options;
    const route = { device: hop.handle, epoch: Number(epoch), journalId };
    return new JournalClock(route, {
      send: (frame) => hop.link.send(frame),
      steadyMs: steadyClock(),
      onRead: onClock,
      onRefused: () => this.#fail(BUSY),
    });
  }

  #silence(): ZlError {
    return this.#opened === undefined
      ? new ZlError('relay.unreachable', `${this.#options.owner.relayId} does not open the device`)
      : new ZlError('device.offline', 'the device does not state its clock');
  }

  #fail(error: ZlError): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onFailed(error);
  }
}

const OLD_LEASE = new ZlError('device.offline', 'the relay holds an old lease');
