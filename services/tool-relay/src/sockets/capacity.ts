import { ZlError } from '@zerolatency/errors';
import type { RelayConfig } from '../config.ts';
import { HELLO_BYTES, LargeHellos, MAX_LARGE_HELLOS } from '../limits/hello-allowance.ts';

/** What the operating system grants this process. */
export interface Machine {
  readonly availableBytes: number;
  readonly maxDescriptors: number;
}

export interface Capacity {
  readonly maxConnections: number;
  readonly maxUnproved: number;
}

/** For RPC, the admin port, files and libraries. */
const OTHER_DESCRIPTORS = 256;
/** Where the limit is low, they get this much of it. */
const OTHER_SHARE = 0.25;
/** Unproved peers must not take the room of proved ones. */
const UNPROVED_SHARE = 0.25;
/** TLS, socket and session of an unproved peer beside its hello; 52 KiB were measured with ws. */
const UNPROVED_SOCKET_BYTES = 64 * 1024;
/** Unproved peers may take this much of the memory that is available at the start. */
const MEMORY_SHARE = 0.5;

/** Throws config.invalid when the memory does not suffice for what strangers may take. */
export function capacityOf({ devices }: RelayConfig, machine: Machine): Capacity {
  const { maxDescriptors, availableBytes } = machine;
  const other = Math.min(OTHER_DESCRIPTORS, Math.floor(maxDescriptors * OTHER_SHARE));
  const maxConnections = maxDescriptors - other;
  const maxUnproved = Math.min(devices.maxUnproved, Math.floor(maxConnections * UNPROVED_SHARE));
  const largeBytes = MAX_LARGE_HELLOS * new LargeHellos(devices.maxCatalogBytes).maxBytes;
  const eachBytes = UNPROVED_SOCKET_BYTES + HELLO_BYTES;
  const freeBytes = availableBytes * MEMORY_SHARE - largeBytes;
  if (maxUnproved * eachBytes <= freeBytes) return { maxConnections, maxUnproved };
  const fits = Math.max(0, Math.floor(freeBytes / eachBytes));
  throw new ZlError(
    'config.invalid',
    fits > 0
      ? `devices.maxUnproved: ${maxUnproved} connections need more than half of the available memory (${mib(availableBytes)}); ${fits} fit`
      : `devices.maxCatalog: ${MAX_LARGE_HELLOS} catalogs of this size need more than half of the available memory (${mib(availableBytes)})`,
  );
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / (1024 * 1024))} MiB`;
}
