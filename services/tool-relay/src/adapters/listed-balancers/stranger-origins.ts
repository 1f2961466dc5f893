import type { Socket } from 'node:net';
import type { Origins } from '@zerolatency/service/rpc';
import type { Balancers } from '../../sockets/socket-engine.ts';
import { readProxyHeader } from '../ws/proxy-header.ts';

interface WaitLimits {
  /** Connections whose header has not come. */
  readonly maxUnproved: number;
  readonly handshakeMs: number;
}

/** For whom connections of an RPC listener are. Undefined where no balancer stands before it. */
export function strangerOrigins(
  balancers: Balancers,
  { maxUnproved, handshakeMs }: WaitLimits,
): Origins | undefined {
  const { kind } = balancers;
  if (kind === 'none') return undefined;
  let waiting = 0;
  const waitForHeader = (socket: Socket, onFound: Parameters<Origins['find']>[1]) => {
    const { remoteAddress: address = '' } = socket;
    // Whoever comes past the balancers could name any address.
    if (!balancers.trusts(address) || waiting >= maxUnproved) {
      socket.destroy();
      return;
    }
    waiting += 1;
    const timer = setTimeout(() => socket.destroy(), handshakeMs);
    let isWaiting = true;
    const finish = () => {
      if (isWaiting) waiting -= 1;
      isWaiting = false;
      clearTimeout(timer);
    };
    socket.once('close', finish);
    readProxyHeader(socket, (peer) => {
      finish();
      socket.off('close', finish);
      if (peer === undefined) socket.destroy();
      else if (peer === 'own') onFound({ address, isShared: true });
      else onFound({ address: peer.address, isShared: false });
    });
  };
  return {
    find(socket, onFound) {
      if (kind === 'v2') {
        waitForHeader(socket, onFound);
        return;
      }
      const { remoteAddress: address = '' } = socket;
      onFound({ address, isShared: balancers.trusts(address) });
    },
  };
}

/** The address of the client whose request came over a connection from that address. */
export function originOf(
  balancers: Balancers,
  address: string,
  header: string | undefined,
): string {
  const isNamed = balancers.kind === 'forwarded-for' && balancers.trusts(address);
  if (!isNamed || header === undefined) return address;
  const origin = balancers.forwardedFor(header);
  return typeof origin === 'string' ? address : origin.address;
}
