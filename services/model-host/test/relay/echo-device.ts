import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { Frame } from '@zerolatency/frame';
import { type Catalog, CatalogSchema } from '@zerolatency/proto/bridge';
import type { TestDevice } from '@zerolatency/testing';
import type { RelayedDevice } from './link-relay.ts';

/** Returns every frame to its sender, which is enough to prove a route. */
export class EchoDevice implements RelayedDevice {
  readonly tenant: string;
  readonly deviceId: string;
  readonly journalId: Uint8Array = randomBytes(16);
  catalog: Catalog = create(CatalogSchema);
  credential: string;
  #send: ((frame: Frame) => void) | undefined;

  constructor({ tenant, deviceId, credential }: TestDevice) {
    this.tenant = tenant;
    this.deviceId = deviceId;
    this.credential = credential;
  }

  attach(_epoch: number, send: (frame: Frame) => void): void {
    this.#send = send;
  }

  detach(): void {
    this.#send = undefined;
  }

  receive(frame: Frame): void {
    this.#send?.(frame);
  }
}
