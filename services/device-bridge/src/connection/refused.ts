import { ZlError } from '@zerolatency/errors';
import type { SocketEnd } from '../ports.ts';
import type { ConnectionState } from './state.ts';

/** Nothing is tried until something changes: a refused credential stays refused. */
export function refused(error: ZlError): ConnectionState {
  return { name: 'refused', error, leave: () => {} };
}

/** Codes a relay closes with when no later attempt of the same device can succeed. */
const refusalCodes: ReadonlySet<number> = new Set([4401, 4403]);

export function refusalOf({ code, reason }: SocketEnd): ZlError | undefined {
  if (!refusalCodes.has(code) && !reason.startsWith('device.credential_invalid')) return undefined;
  const message = `the relay refuses this device's credential (${code} ${reason})`;
  return new ZlError('device.credential_invalid', message);
}
