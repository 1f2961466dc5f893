import { once } from 'node:events';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { TestDevice } from '@zerolatency/testing';
import { LeanDevice, type LeanDeviceOptions } from '../scale/measure/lean-device.ts';

export interface Client {
  destroy(): void;
}

/** A connection of the TLS floor, once it has answered. */
export async function echoedConnection(
  port: number,
  secureContext: SecureContext,
): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', secureContext });
  socket.on('error', () => {});
  socket.once('secureConnect', () => socket.write('.'));
  await once(socket, 'data');
  return socket;
}

/** On a busy machine a proof may come too late. */
const MAX_DIALS = 3;

/** A device that the relay has welcomed. */
export async function liveDevice(
  options: LeanDeviceOptions,
  identity: TestDevice,
): Promise<Client> {
  for (let dials = 0; dials < MAX_DIALS; dials += 1) {
    const device = new LeanDevice(options, identity);
    const isWelcome = await new Promise<boolean>((resolve) => {
      device.onWelcome = () => resolve(true);
      device.onClose = () => resolve(false);
    });
    if (isWelcome) return { destroy: () => device.terminate() };
  }
  throw new Error(`the relay refused ${identity.deviceId}`);
}
