import { fromBinary } from '@bufbuild/protobuf';
import type { MethodImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import type { RelayService } from '@zerolatency/proto/relay';
import type { Directory, DirectoryEntry } from '../ports.ts';
import { readId } from './read-id.ts';

const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;
const MAX_TOKEN_CHARS = 512;
/** A page ends early rather than hold the catalogs of a thousand talkative devices. */
const MAX_CATALOG_BYTES = 2 * 1024 * 1024;

type List = MethodImpl<typeof RelayService.method.listDevices>;

/** The connected devices of a tenant, in the order of their ids. */
export function listDevices(directory: Directory): List {
  return async (request) => {
    const tenant = readId(request.tenant, 'tenant');
    if (request.pageSize > MAX_PAGE_SIZE) {
      throw new ZlError('request.invalid', `page_size is at most ${MAX_PAGE_SIZE}`);
    }
    const limit = request.pageSize || DEFAULT_PAGE_SIZE;
    const after = readToken(request.pageToken);
    // One more than asked for tells whether there is a next page.
    const found = await directory.list(tenant, { after, limit: limit + 1 });
    const page = fitting(found.slice(0, limit));
    const last = page.at(-1);
    const hasMore = last !== undefined && page.length < found.length;
    return {
      devices: page.map(toDevice),
      nextPageToken: hasMore ? writeToken(last.deviceId) : '',
    };
  };
}

function fitting(entries: readonly DirectoryEntry[]): readonly DirectoryEntry[] {
  let bytes = 0;
  const end = entries.findIndex(({ catalog }) => {
    bytes += catalog.length;
    return bytes > MAX_CATALOG_BYTES;
  });
  return end < 0 ? entries : entries.slice(0, Math.max(1, end));
}

function toDevice(entry: DirectoryEntry) {
  const { deviceId, relayId, bridgeVersion } = entry;
  return {
    deviceId,
    relayId,
    bridgeVersion,
    epoch: BigInt(entry.epoch),
    connectedUnixMs: BigInt(entry.connectedUnixMs),
    catalog: fromBinary(CatalogSchema, entry.catalog),
  };
}

function readToken(token: string): string {
  const deviceId = Buffer.from(token, 'base64url').toString();
  if (token.length > MAX_TOKEN_CHARS || writeToken(deviceId) !== token) {
    throw new ZlError('request.invalid', 'page_token is not one that a page ended with');
  }
  return deviceId;
}

function writeToken(deviceId: string): string {
  return Buffer.from(deviceId).toString('base64url');
}
