import type { Opened } from '@zerolatency/proto/link';
import type { DeviceConnection } from '../../executors/device/routes.ts';
import type { Owner } from './directory.ts';
import type { Link } from './link.ts';

/**
 *   idle -> locating -> opening -> up -> waiting -> locating ...
 *
 * Anything that goes wrong leads to waiting; whether it goes on from there is
 * decided by whether anyone still needs the route.
 */
export type RouteState =
  | { readonly name: 'idle' }
  | { readonly name: 'locating'; readonly abort: AbortController }
  | Opening
  | { readonly name: 'up'; readonly hop: Hop; connection: DeviceConnection }
  | { readonly name: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly name: 'closed' };

export interface Opening {
  readonly name: 'opening';
  readonly owner: Owner;
  readonly timer: NodeJS.Timeout;
  hop?: Hop;
  /** As last told, while the credential in it is being checked. */
  opened?: Opened;
}

export interface Hop {
  readonly link: Link;
  readonly handle: number;
}

interface Told {
  readonly epoch: number | bigint;
  readonly credential: string;
}

/** A handle is of one connection of its device, of which only the catalog changes. */
export function isSameConnection(a: Told, b: Told): boolean {
  return Number(a.epoch) === Number(b.epoch) && a.credential === b.credential;
}
