/**
 * What one subscriber has, for limits by address: an IPv4 address, also where it is mapped into
 * IPv6, or the first 64 bits of an IPv6 address.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const groups = groupsOf(address);
  if (isMapped(groups)) return ipv4Of(groups);
  const network = groups.slice(0, 4);
  // Loopback and other addresses without a network.
  if (network.every((group) => group === 0)) return address;
  return `${network.map((group) => group.toString(16)).join(':')}::/64`;
}

/** The IPv4 address that a connection to this one reaches: mapped into IPv6, or behind NAT64 (RFC 6052). */
export function embeddedIpv4(address: string): string | undefined {
  if (!address.includes(':')) return undefined;
  const groups = groupsOf(address);
  const [first, second, ...others] = groups.slice(0, 6);
  const isTranslated = first === 0x64 && second === 0xff9b && others.every((group) => group === 0);
  return isMapped(groups) || isTranslated ? ipv4Of(groups) : undefined;
}

function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

function ipv4Of(groups: readonly number[]): string {
  return groups.slice(6).flatMap(bytesOf).join('.');
}

/** The eight groups of an address in any of its spellings. */
function groupsOf(address: string): number[] {
  const [head = [], tail = []] = address.split('::').map((half) => half.split(':').flatMap(read));
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => 0);
  return [...head, ...zeros, ...tail];
}

function read(group: string): number[] {
  if (group === '') return [];
  if (!group.includes('.')) return [Number.parseInt(group, 16)];
  const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
  return [a * 256 + b, c * 256 + d];
}

function bytesOf(group: number): number[] {
  return [group >> 8, group & 255];
}
