import type { MethodImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import type { RelayService } from '@zerolatency/proto/relay';
import type { Directory } from '../ports.ts';
import { readId } from './read-id.ts';

/** Which pod holds the device's socket now. */
export function locate(directory: Directory): MethodImpl<typeof RelayService.method.locate> {
  return async (request) => {
    const tenant = readId(request.tenant, 'tenant');
    const deviceId = readId(request.deviceId, 'device_id');
    const owner = await directory.locate({ tenant, deviceId });
    // Devices are known by their credentials alone, so one that never was looks the same.
    if (owner === undefined) throw new ZlError('device.offline', `${deviceId} is not connected`);
    const { relayId, linkUrl, epoch } = owner;
    return { relayId, linkUrl, epoch: BigInt(epoch) };
  };
}
