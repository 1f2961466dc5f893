import { decodeFrame, FrameKind, kindOf } from '@zerolatency/frame';
import { Allowance } from '../limits/allowance.ts';
import type { DeviceDescription, Lease, LostReason, Socket } from '../ports.ts';
import { LiveDevice } from '../routing/live-device.ts';
import { CatalogChanges } from './catalog-changes.ts';
import { type Ending, malformed, overLimit, unreadable } from './ending.ts';
import { type Hello, readCatalog } from './hello.ts';
import type { SessionContext } from './session-context.ts';

/** Beyond the callee's kinds, 48 to 63. */
const END_OF_CALLEE_KINDS = 64;

export interface TenureOptions {
  readonly hello: Hello;
  readonly lease: Lease;
  readonly description: DeviceDescription;
  readonly socket: Socket;
  readonly session: { cut(reason: 'slow' | 'superseded'): void; end(ending: Ending): void };
}

/** What a device has while it is live: its lease, and its place among the devices. */
export class Tenure {
  readonly device: LiveDevice;
  readonly #context: SessionContext;
  readonly #lease: Lease;
  readonly #session: TenureOptions['session'];
  /** Made for the first change: most devices never have one. */
  #catalogs: CatalogChanges | undefined;
  #description: DeviceDescription;

  constructor(context: SessionContext, options: TenureOptions) {
    const { devices, limits, clock, metrics, backlog } = context;
    const { lease, socket, session } = options;
    const { journalId, credential, catalog } = options.hello;
    this.#context = context;
    this.#lease = lease;
    this.#description = options.description;
    this.#session = session;
    const tenant = devices.usageOf(lease.tenant);
    this.device = new LiveDevice({
      lease,
      socket,
      session,
      limits,
      metrics,
      backlog,
      tenant,
      allowance: new Allowance(limits, clock.monotonicMs()),
      opened: { epoch: lease.epoch, journalId, credential, catalog },
    });
    const earlier = devices.put(this.device, tenant);
    earlier?.supersede();
  }

  /** A canonical frame. Gives why the session must end, if it must. */
  receive(frame: Uint8Array): Ending | undefined {
    const { device } = this;
    const nowMs = this.#context.clock.monotonicMs();
    if (!device.mayReceive(frame.length, nowMs)) {
      return overLimit('more frames or bytes per second than the device or its tenant may send');
    }
    const kind = kindOf(frame);
    if (kind >= FrameKind.DATA && kind < END_OF_CALLEE_KINDS) {
      device.fromDevice(frame, nowMs);
      return undefined;
    }
    if (kind === FrameKind.CATALOG) return this.#receiveCatalog(frame);
    return malformed(`kind ${kind} is not a live device's`);
  }

  end(reason: LostReason): void {
    this.#catalogs?.close();
    this.#context.devices.remove(this.device);
    this.device.gone(reason);
    this.#tellDirectory(this.#context.directory.release(this.#lease));
  }

  #receiveCatalog(bytes: Uint8Array): Ending | undefined {
    const { frame, error } = decodeFrame(bytes);
    if (error !== undefined) return unreadable(error);
    this.#catalogs ??= new CatalogChanges({
      clock: this.#context.clock,
      apply: (payload) => this.#changeCatalog(payload),
      onEnding: (ending) => this.#session.end(ending),
    });
    return this.#catalogs.receive(frame.payload);
  }

  #changeCatalog(payload: Uint8Array): Ending | undefined {
    const { limits, directory } = this.#context;
    const read = readCatalog(payload, limits);
    if ('error' in read) return unreadable(read.error);
    const { catalog } = read;
    this.#description = { ...this.#description, catalog };
    this.device.changeCatalog(catalog);
    this.#tellDirectory(directory.describe(this.#lease, this.#description));
    return undefined;
  }

  /** A directory that fails costs a live session nothing; its lease runs out by itself. */
  #tellDirectory(told: Promise<void>): void {
    told.catch((err: unknown) => {
      this.#context.log.warn({ err, deviceId: this.#lease.deviceId }, 'directory not told');
    });
  }
}
