import { ZlError } from '@zerolatency/errors';
import type { DeviceRoutes } from '../tools/ports.ts';

/** For a host that is told of no relay: chats go on, and nothing has a way to a device. */
export const noDevices: DeviceRoutes = {
  route: () => ({
    session: undefined,
    ready: () => Promise.reject(new ZlError('relay.unreachable', 'relay.urls is empty')),
    attach() {},
    detach() {},
    send() {},
  }),
};
