import { fromBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { MethodImpl, ServiceImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { type DeviceIdentity, type NameKind, parseName } from '@zerolatency/identity';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import { type RelayService, Transport } from '@zerolatency/proto/relay';
import { type Catalogs, MAX_CATALOG_BYTES, MAX_DESCRIBED } from '../directory/catalogs.ts';
import type { Directory, DirectoryEntry } from '../directory/directory.ts';

/** What the RPCs ask of the relay. */
export interface DeviceLookup {
  readonly directory: Pick<Directory, 'locate' | 'list'>;
  readonly catalogs: Pick<Catalogs, 'of' | 'own'>;
  /** Why a device that is not connected cannot connect. */
  readonly revocations: { absence(device: DeviceIdentity): ZlError | undefined };
}

const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;
/** Far longer than an encoded device id. */
const MAX_PAGE_TOKEN_CHARS = 512;

export function relayService(lookup: DeviceLookup): ServiceImpl<typeof RelayService> {
  return {
    locate: locate(lookup),
    listDevices: listDevices(lookup),
    describeDevices: describeDevices(lookup),
  };
}

/** Returns the pod that holds the device's socket now. */
function locate({
  directory,
  revocations,
}: DeviceLookup): MethodImpl<typeof RelayService.method.locate> {
  return async (request) => {
    const tenant = readName('tenant', request.tenant, 'tenant');
    const deviceId = readName('device', request.deviceId, 'device_id');
    const owner = await directory.locate({ tenant, deviceId });
    // Relays keep no registry, so a device that never existed looks the same.
    if (owner === undefined) {
      const offline = new ZlError('device.offline', `${deviceId} is not connected`);
      throw revocations.absence({ tenant, deviceId }) ?? offline;
    }
    const { relayId, linkUrl, epoch } = owner;
    return { relayId, linkUrl, epoch: BigInt(epoch) };
  };
}

/** Lists the connected devices of a tenant, ordered by id. */
function listDevices({
  directory,
  catalogs,
}: DeviceLookup): MethodImpl<typeof RelayService.method.listDevices> {
  return async (request) => {
    const tenant = readName('tenant', request.tenant, 'tenant');
    if (request.pageSize > MAX_PAGE_SIZE) {
      throw invalid('page_size', `must be at most ${MAX_PAGE_SIZE}`);
    }
    const limit = request.pageSize || DEFAULT_PAGE_SIZE;
    const after = readPageToken(request.pageToken);
    // One more than the page holds shows whether there is a next page.
    const found = await directory.list(tenant, { after, limit: limit + 1 });
    const offered = await catalogs.of(found.slice(0, limit));
    const page = found.slice(0, offered.length);
    const last = page.at(-1);
    const hasMore = last !== undefined && page.length < found.length;
    return {
      devices: page.map((entry, index) => toDevice(entry, offered[index])),
      nextPageToken: hasMore ? writePageToken(last.deviceId) : '',
    };
  };
}

const WIRE_TRANSPORTS = {
  websocket: Transport.WEBSOCKET,
  http_stream: Transport.HTTP_STREAM,
} as const;

function toDevice(entry: DirectoryEntry, catalog: Uint8Array | undefined) {
  const { deviceId, relayId, bridgeVersion, transport } = entry;
  return {
    deviceId,
    relayId,
    bridgeVersion,
    transport: transport === undefined ? Transport.UNSPECIFIED : WIRE_TRANSPORTS[transport],
    features: [...entry.features],
    epoch: BigInt(entry.epoch),
    connectedAt: timestampFromMs(entry.connectedUnixMs),
    ...(catalog !== undefined && { catalog: fromBinary(CatalogSchema, catalog) }),
  };
}

/** Returns what devices offer that hold their sockets here. */
function describeDevices(
  lookup: DeviceLookup,
): MethodImpl<typeof RelayService.method.describeDevices> {
  return async (request) => {
    const tenant = readName('tenant', request.tenant, 'tenant');
    const { deviceIds } = request;
    if (deviceIds.length === 0 || deviceIds.length > MAX_DESCRIBED) {
      throw invalid('device_ids', `must be 1 to ${MAX_DESCRIBED}`);
    }
    for (const deviceId of deviceIds) readName('device', deviceId, 'device_ids');
    const found = new Map<string, Uint8Array>();
    let bytes = 0;
    let described = 0;
    for (const deviceId of deviceIds) {
      const own = lookup.catalogs.own({ tenant, deviceId });
      if (own !== undefined && !found.has(own.digest)) {
        bytes += own.catalog.length;
        if (described > 0 && bytes > MAX_CATALOG_BYTES) break;
        found.set(own.digest, own.catalog);
      }
      described += 1;
    }
    return { catalogs: [...found.values()], described };
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
