import type { Route } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Server } from '@zerolatency/proto/bridge';
import type { Verifier } from '@zerolatency/signing';

/** The connection of a device, as this host reaches it now. */
export interface DeviceConnection extends Route {
  readonly servers: readonly Server[];
  /** Signed by the enrolment authority; verified. */
  readonly credential: string;
  /** For the key in the credential, which alone signs this device's receipts. */
  readonly verifier: Verifier;
}

export interface RouteUser {
  onFrame(frame: Frame): void;
  onRouteUp(connection: DeviceConnection): void;
  onRouteLost(): void;
}

/** The route to one device. It reconnects for as long as anyone needs it. */
export interface DeviceRoute {
  readonly connection: DeviceConnection | undefined;
  /** Rejects soon with the ZlError that keeps the device from being reached. */
  ready(signal: AbortSignal): Promise<DeviceConnection>;
  /** Calls onRouteUp at once when the route is up. */
  attach(callId: string, user: RouteUser): void;
  detach(callId: string): void;
  send(frame: Frame): void;
}

export interface DeviceRoutes {
  route(tenant: string, deviceId: string): DeviceRoute;
}

/** For a host without a relay: chats go on, and no device can be reached. */
export const NO_DEVICES: DeviceRoutes = {
  route: () => ({
    connection: undefined,
    ready: () => Promise.reject(new ZlError('relay.unreachable', 'relay.urls is empty')),
    attach() {},
    detach() {},
    send() {},
  }),
};
