import type { Lease } from '../directory/directory.ts';
import type { SessionEnd } from './disconnect.ts';
import type { Hello, ProvedDevice } from './hello.ts';

/**
 *   challenged -> proved -> live -> draining
 *        \           \        \         \
 *         `-----------`--------`---------`--> gone
 *
 * A device is challenged until its hello is verified, and proved until it has
 * a lease. Frames are routed only to live and draining devices.
 */
export type SessionState =
  | { readonly name: 'challenged'; readonly nonce: Uint8Array; readonly hello?: Hello }
  | { readonly name: 'proved'; readonly hello: Hello; readonly device: ProvedDevice }
  | { readonly name: 'live' | 'draining'; readonly lease: Lease; readonly expiresAtMs: number }
  | { readonly name: 'gone'; readonly end: SessionEnd };

export type SessionEvent =
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'proof_held'; readonly device: ProvedDevice }
  | { readonly type: 'leased'; readonly lease: Lease }
  | { readonly type: 'renewed'; readonly expiresAtMs: number }
  | { readonly type: 'drain' }
  | { readonly type: 'ended'; readonly end: SessionEnd };

/** Returns undefined when the state does not allow the event. */
export function transition(state: SessionState, event: SessionEvent): SessionState | undefined {
  if (state.name === 'gone') return undefined;
  switch (event.type) {
    case 'hello':
      // One hello per challenge: even a bad one uses up the nonce.
      if (state.name !== 'challenged' || state.hello !== undefined) return undefined;
      return { ...state, hello: event.hello };
    case 'proof_held':
      if (state.name !== 'challenged' || state.hello === undefined) return undefined;
      return { name: 'proved', hello: state.hello, device: event.device };
    case 'leased':
      if (state.name !== 'proved' || !isOf(event.lease, state.device)) return undefined;
      return { name: 'live', lease: event.lease, expiresAtMs: state.device.expiresAtMs };
    case 'renewed':
      if (state.name !== 'live' && state.name !== 'draining') return undefined;
      return { ...state, expiresAtMs: event.expiresAtMs };
    case 'drain':
      return state.name === 'live' ? { ...state, name: 'draining' } : undefined;
    case 'ended':
      return { name: 'gone', end: event.end };
  }
}

function isOf(lease: Lease, device: ProvedDevice): boolean {
  return lease.tenant === device.tenant && lease.deviceId === device.deviceId;
}
