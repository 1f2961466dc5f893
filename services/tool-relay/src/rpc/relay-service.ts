import { fromBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { MethodImpl, ServiceImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { type NameKind, parseName } from '@zerolatency/identity';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import type { RelayService } from '@zerolatency/proto/relay';
import type { Directory, DirectoryEntry } from '../directory/directory.ts';

/** What its RPCs ask of the directory. */
export type DeviceLookup = Pick<Directory, 'locate' | 'list'>;

const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;
/** Far longer than an encoded device id. */
const MAX_PAGE_TOKEN_CHARS = 512;
/** A page ends early rather than hold a thousand large catalogs. */
const MAX_CATALOG_BYTES = 2 * 1024 * 1024;

export function relayService(directory: DeviceLookup): ServiceImpl<typeof RelayService> {
  return { locate: locate(directory), listDevices: listDevices(directory) };
}

/** Returns the pod that holds the device's socket now. */
function locate(directory: DeviceLookup): MethodImpl<typeof RelayService.method.locate> {
  return async (request) => {
    const tenant = readName('tenant', request.tenant, 'tenant');
    const deviceId = readName('device', request.deviceId, 'device_id');
    const owner = await directory.locate({ tenant, deviceId });
    // Relays keep no registry, so a device that never existed looks the same.
    if (owner === undefined) throw new ZlError('device.offline', `${deviceId} is not connected`);
    const { relayId, linkUrl, epoch } = owner;
    return { relayId, linkUrl, epoch: BigInt(epoch) };
  };
}

/** Lists the connected devices of a tenant, ordered by id. */
function listDevices(directory: DeviceLookup): MethodImpl<typeof RelayService.method.listDevices> {
  return async (request) => {
    const tenant = readName('tenant', request.tenant, 'tenant');
    if (request.pageSize > MAX_PAGE_SIZE) {
      throw invalid('page_size', `must be at most ${MAX_PAGE_SIZE}`);
    }
    const limit = request.pageSize || DEFAULT_PAGE_SIZE;
    const after = readPageToken(request.pageToken);
    // One more than the page holds shows whether there is a next page.
    const found = await directory.list(tenant, { after, limit: limit + 1 });
    const page = fitting(found.slice(0, limit));
    const last = page.at(-1);
    const hasMore = last !== undefined && page.length < found.length;
    return {
      devices: page.map(toDevice),
      nextPageToken: hasMore ? writePageToken(last.deviceId) : '',
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
    features: [...entry.features],
    epoch: BigInt(entry.epoch),
    connectedAt: timestampFromMs(entry.connectedUnixMs),
    catalog: fromBinary(CatalogSchema, entry.catalog),
  };
}

/** Throws request.invalid, naming the field. */
function readName(kind: NameKind, given: string, field: string): string {
  const { value, error } = parseName(kind, given);
  if (error !== undefined) throw invalid(field, error);
  return value;
}

function readPageToken(token: string): string {
  const deviceId = Buffer.from(token, 'base64url').toString();
  if (token.length > MAX_PAGE_TOKEN_CHARS || writePageToken(deviceId) !== token) {
    throw invalid('page_token', 'must come from a previous response');
  }
  return deviceId;
}

function invalid(field: string, why: string): ZlError {
  return new ZlError('request.invalid', `${field} ${why}`, { field });
}

function writePageToken(deviceId: string): string {
  return Buffer.from(deviceId).toString('base64url');
}
