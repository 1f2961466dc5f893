import { BlockList, isIP } from 'node:net';
import { ZlError } from '@zerolatency/errors';
import type { RelaySettings } from '../../../../../contracts/gen/tool-relay.d.ts';
import type { Balancers } from '../../sockets/socket-engine.ts';

type BalancerSettings = Pick<RelaySettings['sockets'], 'proxyProtocol' | 'trustedProxies'> &
  Partial<Pick<RelaySettings['sockets'], 'engine'>>;

export class ListedBalancers implements Balancers {
  readonly kind: BalancerSettings['proxyProtocol'];
  readonly #trusted = new BlockList();

  /** Throws config.invalid. */
  constructor({ engine, proxyProtocol, trustedProxies }: BalancerSettings, setting = 'sockets') {
    this.kind = proxyProtocol;
    if ((proxyProtocol === 'none') !== (trustedProxies.length === 0)) {
      throw new ZlError(
        'config.invalid',
        `${setting}.proxyProtocol and ${setting}.trustedProxies need each other`,
      );
    }
    if (engine === 'uws' && proxyProtocol === 'v2') {
      const why = 'the package of uWebSockets.js is built without the PROXY protocol';
      throw new ZlError(
        'config.invalid',
        `sockets.proxyProtocol: v2 needs sockets.engine: ws; ${why}`,
      );
    }
    for (const network of trustedProxies) this.#trust(network, `${setting}.trustedProxies`);
  }

  trusts(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }

  /** What stands before the last address that is not a balancer's may be the peer's own invention. */
  forwardedFor(header: string): ReturnType<Balancers['forwardedFor']> {
    for (const hop of header.split(',').reverse()) {
      const text = hop.trim();
      if (text === '') continue;
      const address = addressIn(text);
      if (address === undefined) return 'unreadable';
      if (!this.trusts(address)) return { address };
    }
    return 'own';
  }

  #trust(network: string, setting: string): void {
    const [address = '', bits, ...more] = network.split('/');
    const family = isIP(address);
    const maxBits = family === 6 ? 128 : 32;
    const prefix = bits === undefined ? maxBits : Number(bits);
    const isPrefix = bits === undefined || (/^\d{1,3}$/.test(bits) && prefix <= maxBits);
    if (family === 0 || !isPrefix || more.length > 0) {
      throw new ZlError(
        'config.invalid',
        `${setting}: "${network}" is not an address or network such as 10.0.0.0/8`,
      );
    }
    this.#trusted.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
  }
}

/** Some balancers add the port: 192.0.2.1:5000 or [2001:db8::1]:5000. */
function addressIn(hop: string): string | undefined {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(hop)?.[1];
  const address = bracketed ?? hop.replace(/^([^:]*):\d{1,5}$/, '$1');
  return isIP(address) === 0 ? undefined : address;
}
