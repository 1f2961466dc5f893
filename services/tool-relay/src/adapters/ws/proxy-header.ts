import type { Socket } from 'node:net';

/** The binary header of the PROXY protocol (haproxy's proxy-protocol.txt, section 2.2). */

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Signature, version and command, family, length of the rest. */
const HEAD_BYTES = 16;
/** What the specification calls safe for any network. Addresses take 52, extensions the rest. */
const MAX_BYTES = 536;
const LOCAL = 0x20;
const PROXY = 0x21;
const TCP4 = 0x11;
const TCP6 = 0x21;

/** For whom a balancer connects: a peer, or itself, as it does for a health check. */
export type ProxiedPeer = { readonly address: string } | 'own';

/** Returns the length of the whole header, or undefined where no header of version 2 begins. */
export function proxyHeaderBytes(head: Buffer): number | undefined {
  if (head.length < HEAD_BYTES || !SIGNATURE.equals(head.subarray(0, SIGNATURE.length))) {
    return undefined;
  }
  const bytes = HEAD_BYTES + head.readUInt16BE(14);
  return bytes <= MAX_BYTES ? bytes : undefined;
}

/** Takes a whole header. Returns undefined when it does not name a TCP peer. */
export function proxiedPeer(header: Buffer): ProxiedPeer | undefined {
  if (proxyHeaderBytes(header) !== header.length) return undefined;
  const command = header[12];
  if (command === LOCAL) return 'own';
  if (command !== PROXY) return undefined;
  const family = header[13];
  const addresses = header.subarray(HEAD_BYTES);
  if (family === TCP4 && addresses.length >= 12) {
    return { address: addresses.subarray(0, 4).join('.') };
  }
  if (family === TCP6 && addresses.length >= 36) {
    const groups = Array.from({ length: 8 }, (_, group) => addresses.readUInt16BE(2 * group));
    return { address: groups.map((group) => group.toString(16)).join(':') };
  }
  return undefined;
}

/**
 * Takes the header from a connection, and nothing of what follows it. Waits as long as the
 * connection lasts; the arrival bounds that.
 */
export function readProxyHeader(
  connection: Socket,
  onRead: (peer: ProxiedPeer | undefined) => void,
): void {
  let head: Buffer | undefined;
  const finish = (peer: ProxiedPeer | undefined) => {
    connection.off('readable', read).off('error', ignore);
    onRead(peer);
  };
  const read = () => {
    head ??= connection.read(HEAD_BYTES) ?? undefined;
    if (head === undefined) return;
    const bytes = proxyHeaderBytes(head);
    if (bytes === undefined) return finish(undefined);
    const rest: Buffer | null =
      bytes === HEAD_BYTES ? Buffer.alloc(0) : connection.read(bytes - HEAD_BYTES);
    if (rest !== null) finish(proxiedPeer(Buffer.concat([head, rest])));
  };
  connection.on('readable', read).on('error', ignore);
}

function ignore(): void {
  // A close event follows, and ends the arrival.
}
