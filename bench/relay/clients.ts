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

/** A device that the relay has welcomed. */
export async function liveDevice(
  options: LeanDeviceOptions,
  identity: TestDevice,
): Promise<Client> {
  const device = new LeanDevice(options, identity);
  await new Promise<void>((resolve, reject) => {
    device.onWelcome = resolve;
    device.onClose = () => reject(new Error(`the relay refused ${identity.deviceId}`));
  });
  device.onClose = () => {};
  return { destroy: () => device.terminate() };
}
