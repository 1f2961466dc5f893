import type { Transport } from '../ports.ts';

/** One failure may be a relay that restarts. */
const MAX_BLOCKED = 2;

/**
 * Which transport the next dial uses:
 *
 *   websocket --(blocked twice)--> http_stream --(fails, or a WebSocket is live)--> websocket
 *
 * Blocked is an attempt that reached the relay's address over TLS, and ended without a word of the
 * relay. While the device lives on a stream, WebSockets are tried beside it; those attempts change
 * nothing before one is live.
 */
export class TransportChoice {
  #current: Transport = 'websocket';
  #blocked = 0;

  get current(): Transport {
    return this.#current;
  }

  failed(transport: Transport, isBlocked: boolean): void {
    if (transport !== this.#current) return;
    if (transport === 'http_stream') {
      this.#use('websocket');
    } else if (isBlocked) {
      this.#blocked += 1;
      if (this.#blocked === MAX_BLOCKED) this.#use('http_stream');
    }
  }

  live(transport: Transport): void {
    this.#use(transport);
  }

  #use(transport: Transport): void {
    this.#current = transport;
    this.#blocked = 0;
  }
}
