import { create } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import {
  DeviceSchema,
  ListDevicesResponseSchema,
  LocateResponseSchema,
  RelayService,
} from '@zerolatency/proto/relay';
import { toConnectError } from '@zerolatency/service/rpc';
import type { LinkRelay } from './link-relay.ts';

interface Lease {
  readonly tenant: string;
  readonly deviceId: string;
  readonly relay: LinkRelay;
  readonly epoch: number;
}

/** The relay of each device, shared by the fake relay pods of a test. */
export class FakeDirectory {
  readonly #leases = new Map<string, Lease>();
  #lastEpoch = 0;
  /** Calls of Locate so far. */
  locates = 0;
  /** Devices reported as unknown instead of offline. */
  readonly unknown = new Set<string>();
  /** Devices reported as revoked instead. */
  readonly revoked = new Set<string>();
  /** The pods cannot reach their store. */
  isDegraded = false;
  /** What pods say instead. */
  readonly #remembered = new Map<LinkRelay, Lease>();

  /** The pod answers from now on with the lease that the device has now. */
  remember(tenant: string, deviceId: string, pod: LinkRelay): void {
    const lease = this.#leases.get(`${tenant}/${deviceId}`);
    if (lease !== undefined) this.#remembered.set(pod, lease);
  }

  lease(tenant: string, deviceId: string, relay: LinkRelay): number {
    this.#lastEpoch += 1;
    const epoch = this.#lastEpoch;
    this.#leases.set(`${tenant}/${deviceId}`, { tenant, deviceId, relay, epoch });
    return epoch;
  }

  release(tenant: string, deviceId: string, epoch: number): void {
    const key = `${tenant}/${deviceId}`;
    if (this.#leases.get(key)?.epoch === epoch) this.#leases.delete(key);
  }

  routesOf(pod: LinkRelay, router: ConnectRouter): void {
    router.service(RelayService, {
      locate: ({ tenant, deviceId }) => {
        this.locates += 1;
        const lease = this.#remembered.get(pod) ?? this.#leases.get(`${tenant}/${deviceId}`);
        if (lease !== undefined) {
          const { relayId, linkUrl } = lease.relay;
          return create(LocateResponseSchema, { relayId, linkUrl, epoch: BigInt(lease.epoch) });
        }
        if (this.isDegraded) {
          throw toConnectError(new ZlError('directory.degraded', 'without redis'));
        }
        const absent = this.unknown.has(deviceId) ? 'device.unknown' : 'device.offline';
        const id = this.revoked.has(deviceId) ? 'device.revoked' : absent;
        throw toConnectError(new ZlError(id, `${deviceId} is not connected`));
      },
      listDevices: ({ tenant }) => {
        const mine = [...this.#leases.values()].filter((lease) => lease.tenant === tenant);
        const devices = mine.map(({ deviceId, relay, epoch }) =>
          create(DeviceSchema, { deviceId, relayId: relay.relayId, epoch: BigInt(epoch) }),
        );
        return create(ListDevicesResponseSchema, { devices });
      },
    });
  }
}
