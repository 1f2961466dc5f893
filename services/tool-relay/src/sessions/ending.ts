import { ZlError } from '@zerolatency/errors';
import type { LostReason, SessionEnd, SocketEnd } from '../ports.ts';

/** Why a session ends, and what its device is told. */
export interface Ending {
  readonly end: SessionEnd;
  /** WebSocket close code; undefined cuts the socket, as no close frame gets through. */
  readonly code?: number;
  /** Its id is the close reason. */
  readonly error?: ZlError;
}

export const slow: Ending = { end: 'slow' };
export const silent: Ending = { end: 'silent' };

export const superseded: Ending = {
  end: 'superseded',
  code: 4409,
  error: new ZlError('device.superseded', 'the device connected again'),
};

export const draining: Ending = {
  end: 'draining',
  code: 1012,
  error: new ZlError('server.draining', 'this relay is shutting down'),
};

export const tooLate: Ending = {
  end: 'refused',
  code: 4408,
  error: new ZlError('identity.missing', 'no valid hello in time'),
};

export const expired: Ending = {
  end: 'refused',
  code: 4401,
  error: new ZlError('device.credential_invalid', 'the credential has expired'),
};

export function refused(error: ZlError): Ending {
  return { end: 'refused', code: error.id === 'internal' ? 1011 : 4401, error };
}

export function malformed(why: string): Ending {
  return { end: 'malformed', code: 4400, error: new ZlError('frame.malformed', why) };
}

export function overLimit(what: string): Ending {
  return { end: 'limit', code: 4429, error: new ZlError('limit.exceeded', what) };
}

/** For an error that a parser gave. */
export function unreadable(error: ZlError): Ending {
  return error.id === 'limit.exceeded'
    ? { end: 'limit', code: 4429, error }
    : { end: 'malformed', code: 4400, error };
}

/** The socket is closed already. */
export function bySocket(end: SocketEnd): Ending {
  switch (end) {
    case 'closed':
      return { end: 'disconnected' };
    case 'text_message':
      return { end: 'malformed', error: new ZlError('frame.malformed', 'a text message') };
    case 'too_large':
      return { end: 'malformed', error: new ZlError('frame.too_large', 'a frame over the limit') };
  }
}

/** What hosts are told of a device whose session ended so. */
export function lostReason(end: SessionEnd, wasDraining: boolean): LostReason {
  if (wasDraining) return 'draining';
  return end === 'slow' || end === 'superseded' || end === 'draining' ? end : 'disconnected';
}
