import type { Socket as TcpSocket } from 'node:net';
import type { Arrival, SocketEngineOptions } from '../../sockets/socket-engine.ts';
import { readProxyHeader } from './proxy-header.ts';

interface Arrived {
  readonly arrival: Arrival;
  address: string;
}

/** Leads from a connection, which exists before TLS, to its upgrade request, which comes after. */
export class Arrivals {
  readonly #options: SocketEngineOptions;
  readonly #byPeer = new Map<string, Arrived>();

  constructor(options: SocketEngineOptions) {
    this.#options = options;
  }

  /** Serves the connection, or closes it. */
  begin(connection: TcpSocket, serve: () => void): void {
    const { arrive, balancers } = this.#options;
    const { remoteAddress: address } = connection;
    // Reset already, as a balancer's health check does.
    if (address === undefined) {
      connection.destroy();
      return;
    }
    const peer = peerOf(connection);
    const arrival = arrive(address, () => connection.destroy());
    if (arrival === undefined) {
      connection.destroy();
      return;
    }
    const arrived = { arrival, address };
    this.#byPeer.set(peer, arrived);
    connection.once('close', () => {
      this.#byPeer.delete(peer);
      arrival.gone();
    });
    if (balancers.kind === 'v2') this.#findOrigin(connection, arrived, serve);
    else serve();
  }

  of(connection: TcpSocket): Arrived | undefined {
    return this.#byPeer.get(peerOf(connection));
  }

  #findOrigin(connection: TcpSocket, arrived: Arrived, serve: () => void): void {
    readProxyHeader(connection, (peer) => {
      if (peer === 'own') {
        serve();
      } else if (arrived.arrival.named(peer?.address)) {
        arrived.address = peer?.address ?? arrived.address;
        serve();
      } else {
        connection.destroy();
      }
    });
  }
}

/** No two connections of a port have the same. */
function peerOf({ remoteAddress, remotePort, localAddress }: TcpSocket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
