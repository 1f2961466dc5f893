import { type LookupAllOptions, lookup as resolve } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { ZlError } from '@zerolatency/errors';
import { embeddedIpv4 } from '@zerolatency/service/network';

/** Special-purpose addresses of IPv4 (RFC 6890), which no public server has. */
const NOT_PUBLIC_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
];
/** Global unicast of IPv6, and the special-purpose blocks inside it. */
const PUBLIC_IPV6 = ['2000::/3'];
const NOT_PUBLIC_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

/** Which addresses outgoing connections may use, for addresses that a peer or a name server chooses. */
export class Egress {
  readonly #allowed: BlockList;

  /** Public addresses are always allowed; others only inside these networks, in CIDR form. */
  constructor(allowedNetworks: readonly string[] = []) {
    this.#allowed = blockList(allowedNetworks);
  }

  /** @throws ZlError egress.refused for an IP address that is not allowed. Names are checked by lookup. */
  assertHost(hostname: string): void {
    const address = hostname.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) !== 0 && !this.isAllowed(address)) throw refused(hostname, [address]);
  }

  isAllowed(address: string): boolean {
    const ipv4 = embeddedIpv4(address) ?? address;
    if (isIn(this.#allowed, address) || isIn(this.#allowed, ipv4)) return true;
    if (isIP(ipv4) === 4) return !isIn(NOT_PUBLIC, ipv4);
    return isIn(PUBLIC, address) && !isIn(NOT_PUBLIC, address);
  }

  /**
   * For the `lookup` of a socket, which then connects to an address that was checked. Sockets do not look
   * up a host that is an address: assertHost checks those.
   */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    const all: LookupAllOptions = { ...options, all: true };
    resolve(hostname, all, (error, found) => {
      if (error !== null) return callback(error, '', 0);
      const [first, ...rest] = found.filter(({ address }) => this.isAllowed(address));
      if (first === undefined) {
        return callback(
          refused(
            hostname,
            found.map(({ address }) => address),
          ),
          '',
          0,
        );
      }
      if (options.all === true) callback(null, [first, ...rest]);
      else callback(null, first.address, first.family);
    });
  };
}

const PUBLIC = blockList(PUBLIC_IPV6);
const NOT_PUBLIC = blockList([...NOT_PUBLIC_IPV4, ...NOT_PUBLIC_IPV6]);

/** @throws ZlError config.invalid for a text that is not a network. */
function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    try {
      list.addSubnet(address, Number(prefix || Number.NaN), isIP(address) === 6 ? 'ipv6' : 'ipv4');
    } catch (cause) {
      const form = 'a network in CIDR form, such as 10.0.0.0/8 or fd00::/8';
      throw new ZlError('config.invalid', `"${network}" is not ${form}`, { cause });
    }
  }
  return list;
}

function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function refused(hostname: string, addresses: readonly string[]): ZlError {
  const where = addresses.join(', ') || 'no address';
  return new ZlError('egress.refused', `${hostname} is ${where}, which is not a public address`);
}
