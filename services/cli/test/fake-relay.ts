import type { TestContext } from 'node:test';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type DeviceSchema, type ListDevicesRequest, RelayService } from '@zerolatency/proto/relay';
import { serveFake } from './fake-server.ts';
import type { Installed } from './installed.ts';

export type Device = MessageInitShape<typeof DeviceSchema>;

/** One device a page, as a relay with many of them would. Returns what it was asked. */
export async function serveRelay(
  t: TestContext,
  made: Installed,
  devices: readonly Device[],
): Promise<readonly ListDevicesRequest[]> {
  const asked: ListDevicesRequest[] = [];
  const server = await serveFake(t, made.layout, {
    name: 'tool-relay',
    routes: (router) =>
      router.service(RelayService, {
        listDevices(request) {
          asked.push(request);
          const at = Number(request.pageToken || 0);
          const nextPageToken = at + 1 < devices.length ? String(at + 1) : '';
          return { devices: devices.slice(at, at + 1), nextPageToken };
        },
      }),
  });
  await made.point({ relay: { url: server.url } });
  return asked;
}
