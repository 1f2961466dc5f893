import type { Route } from '@zerolatency/call';
import type { Frame } from '@zerolatency/frame';
import type { Server } from '@zerolatency/proto/bridge';

/** A device as this host reaches it now. */
export interface DeviceSession extends Route {
  readonly servers: readonly Server[];
  /** As the enrolment authority signed it; verified. */
  readonly credential: string;
  /** The device's public key, SPKI PEM. */
  readonly devicePem: string;
}

/** One call in the eyes of the route it takes. */
export interface RouteUser {
  onFrame(frame: Frame): void;
  onRouteUp(session: DeviceSession): void;
  onRouteLost(): void;
}

/** The way to one device. It comes up while anyone needs it, as often as it must. */
export interface DeviceRoute {
  readonly session: DeviceSession | undefined;
  /** Rejects, soon, with the ZlError of what keeps the device from being reached. */
  ready(signal: AbortSignal): Promise<DeviceSession>;
  /** Tells the user of the route right away when it is up. */
  attach(callId: string, user: RouteUser): void;
  detach(callId: string): void;
  send(frame: Frame): void;
}

export interface DeviceRoutes {
  route(tenant: string, deviceId: string): DeviceRoute;
}
