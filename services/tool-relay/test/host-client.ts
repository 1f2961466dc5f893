import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import {
  type Opened,
  OpenedSchema,
  OpenSchema,
  RouteLostReason,
  RouteLostSchema,
} from '@zerolatency/proto/link';
import { FrameSocket } from './frame-socket.ts';

export interface OpenDevice {
  readonly handle: number;
  readonly opened: Opened;
  readonly epoch: number;
}

/** A minimal host. */
export class HostClient extends FrameSocket {
  #lastHandle = 0;

  /** Sends an OPEN and returns its handle. */
  sendOpen(tenant: string, deviceId: string, features: string[] = []): number {
    this.#lastHandle += 1;
    const payload = toBinary(OpenSchema, create(OpenSchema, { tenant, deviceId, features }));
    this.send({ kind: FrameKind.OPEN, device: this.#lastHandle, payload });
    return this.#lastHandle;
  }

  async open(tenant: string, deviceId: string, features?: string[]): Promise<OpenDevice> {
    const handle = this.sendOpen(tenant, deviceId, features);
    const opened = await this.opening(handle);
    return { handle, opened, epoch: Number(opened.epoch) };
  }

  async opening(handle: number): Promise<Opened> {
    const { payload } = await this.take(
      ({ kind, device }) => kind === FrameKind.OPENED && device === handle,
    );
    return fromBinary(OpenedSchema, payload);
  }

  /** Resolves with the name of the reason when the handle is lost. */
  async lost(handle: number): Promise<string> {
    const { payload } = await this.take(
      ({ kind, device }) => kind === FrameKind.ROUTE_LOST && device === handle,
    );
    return RouteLostReason[fromBinary(RouteLostSchema, payload).reason];
  }
}
