import { ZlError } from '@zerolatency/errors';
import type { LostReason } from '../routing/relay-frames.ts';
import type { SocketEndReason } from '../sockets/socket-engine.ts';

/** Label of a metric, so the set is closed. */
export type SessionEnd =
  | 'disconnected'
  | 'slow'
  | 'evicted'
  | 'silent'
  | 'superseded'
  | 'refused'
  | 'malformed'
  | 'limit'
  | 'draining'
  | 'revoked'
  | 'redirected';

/** Why a session ends, and how its device hears of it. */
export interface Disconnect {
  readonly end: SessionEnd;
  /** WebSocket close code. Without one the socket is cut, as no close frame would get through. */
  readonly code?: number;
  /** Its id is the close reason. */
  readonly error?: ZlError;
}

export const SLOW: Disconnect = { end: 'slow' };
export const SILENT: Disconnect = { end: 'silent' };

/** Gone at once: it made room for another peer. */
export const EVICTED: Disconnect = { end: 'evicted' };

export const SUPERSEDED: Disconnect = {
  end: 'superseded',
  code: 4409,
  error: new ZlError('device.superseded', 'the device connected again'),
};

export const DRAINING: Disconnect = {
  end: 'draining',
  code: 1012,
  error: new ZlError('server.draining', 'this relay is shutting down'),
};

/** It was told where it belongs. */
export const REDIRECTED: Disconnect = { end: 'redirected', code: 1000 };

export const TOO_FAST = overLimit('the device exceeded its frames or bytes per second');

export const TENANT_TOO_FAST = overLimit('the tenant exceeded its frames or bytes per second');

export const NOT_A_HELLO = overLimit('the device sent more than a hello before it was proved');

/** Why routing cuts a device. */
export type Cut = 'slow' | 'superseded' | 'flooding' | 'revoked';

export const TENANT_FULL = overLimit('the tenant has reached its device limit on this pod');

export const TOO_LATE: Disconnect = {
  end: 'refused',
  code: 4408,
  error: new ZlError('identity.missing', 'no valid hello arrived in time'),
};

export const EXPIRED: Disconnect = {
  end: 'refused',
  code: 4401,
  error: new ZlError('device.credential_invalid', 'the credential has expired'),
};

export const CUTS: Readonly<Record<Cut, Disconnect>> = {
  slow: SLOW,
  superseded: SUPERSEDED,
  flooding: overLimit('the device sends more than its host reads'),
  revoked: refused(new ZlError('device.revoked', 'the device was revoked')),
};

export function refused(error: ZlError): Disconnect {
  switch (error.id) {
    case 'device.revoked':
      return { end: 'revoked', code: 4403, error };
    case 'revocations.unavailable':
      // The device may try again, here or at another pod.
      return { end: 'refused', code: 1013, error };
    default:
      return { end: 'refused', code: error.id === 'internal' ? 1011 : 4401, error };
  }
}

export function malformed(why: string): Disconnect {
  return { end: 'malformed', code: 4400, error: new ZlError('frame.malformed', why) };
}

export function overLimit(why: string): Disconnect {
  return { end: 'limit', code: 4429, error: new ZlError('limit.exceeded', why) };
}

/** For an error that a parser returned. */
export function unreadable(error: ZlError): Disconnect {
  return error.id === 'limit.exceeded'
    ? { end: 'limit', code: 4429, error }
    : { end: 'malformed', code: 4400, error };
}

/** The socket is already closed. */
export function bySocket(end: SocketEndReason): Disconnect {
  switch (end) {
    case 'closed':
      return { end: 'disconnected' };
    case 'text_message':
      return {
        end: 'malformed',
        error: new ZlError('frame.malformed', 'text messages are not allowed'),
      };
    case 'malformed':
      return {
        end: 'malformed',
        error: new ZlError('frame.malformed', 'the records of the HTTP stream are malformed'),
      };
    case 'too_large':
      return {
        end: 'malformed',
        error: new ZlError('frame.too_large', 'the frame is over the size limit'),
      };
  }
}

/** What the hosts of the device hear. */
export function lostReason(end: SessionEnd, wasDraining: boolean): LostReason {
  if (end === 'revoked') return end;
  if (wasDraining) return 'draining';
  return end === 'slow' || end === 'superseded' || end === 'draining' ? end : 'disconnected';
}
