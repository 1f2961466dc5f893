import type { DeviceDescription, PodAddress } from '../../directory/directory.ts';
import type { PodRecord } from '../../sharding/membership.ts';
import { TRANSPORTS } from '../../sockets/socket-engine.ts';

/** What the value of a lease in Redis says. Who it is about and its epoch are beside it. */
export interface LeaseValue extends DeviceDescription, PodAddress {}

type Read<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** A reader refuses a later version. A new optional field leaves it as it is. */
const VERSION = 1;
const MAX_FEATURES = 32;
const NAME = /^[\w.+-]{1,128}$/;
const DIGEST = /^[\w-]{43}$/;
/** No user, query or fragment: it is used to dial. */
const SOCKET_URL = /^wss:\/\/[^/\s@?#]{1,260}\/[\w/-]{1,64}$/;
const RPC_URL = /^https:\/\/[^/\s@?#]{1,260}$/;

export function writeLeaseValue(value: LeaseValue): string {
  const { relayId, linkUrl, rpcUrl } = value;
  const { connectedUnixMs, bridgeVersion, features, catalogDigest, transport } = value;
  const written = { relayId, linkUrl, rpcUrl, connectedUnixMs, bridgeVersion, features };
  return JSON.stringify({ v: VERSION, ...written, catalogDigest, transport });
}

/** Redis may hold what another release or anybody else wrote. */
export function readLeaseValue(text: string): Read<LeaseValue> {
  const { value: pod, given, error } = readAddress(text);
  if (pod === undefined) return { error };
  const { connectedUnixMs, bridgeVersion, features, catalogDigest } = given;
  if (typeof connectedUnixMs !== 'number' || !Number.isSafeInteger(connectedUnixMs)) {
    return { error: 'its connectedUnixMs is not a time' };
  }
  if (!matches(NAME, bridgeVersion)) return { error: 'its bridgeVersion is not a version' };
  if (!isNames(features)) return { error: 'its features are not names' };
  if (!matches(DIGEST, catalogDigest)) return { error: 'its catalogDigest is not a SHA-256' };
  // A later release may know others.
  const transport = TRANSPORTS.find((known) => known === given.transport);
  const description = { connectedUnixMs, bridgeVersion, features, catalogDigest };
  return { value: { ...pod, ...description, ...(transport && { transport }) } };
}

export function writePodValue({ relayId, linkUrl, rpcUrl, deviceUrl }: PodRecord): string {
  return JSON.stringify({ v: VERSION, relayId, linkUrl, rpcUrl, deviceUrl });
}

export function readPodValue(text: string): Read<PodRecord> {
  const { value: pod, given, error } = readAddress(text);
  if (pod === undefined) return { error };
  const { deviceUrl } = given;
  if (deviceUrl !== '' && !matches(SOCKET_URL, deviceUrl))
    return { error: 'its deviceUrl is not a wss:// address' };
  return { value: { ...pod, deviceUrl } };
}

function readAddress(text: string): Read<PodAddress> & { readonly given: Record<string, unknown> } {
  const given = parse(text) ?? {};
  const { v, relayId, linkUrl, rpcUrl } = given;
  const no = (error: string) => ({ given, error });
  if (Object.keys(given).length === 0) return no('it is not a JSON object');
  if (v !== VERSION) return no(`its version is ${String(v)} and not ${VERSION}`);
  if (!matches(NAME, relayId)) return no('its relayId is not a name');
  if (!matches(SOCKET_URL, linkUrl)) return no('its linkUrl is not a wss:// address');
  if (!matches(RPC_URL, rpcUrl)) return no('its rpcUrl is not an https:// address');
  return { given, value: { relayId, linkUrl, rpcUrl } };
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const given: unknown = JSON.parse(text);
    return typeof given === 'object' && given !== null ? { ...given } : undefined;
  } catch {
    return undefined;
  }
}

function matches(pattern: RegExp, given: unknown): given is string {
  return typeof given === 'string' && pattern.test(given);
}

function isNames(given: unknown): given is string[] {
  return (
    Array.isArray(given) &&
    given.length <= MAX_FEATURES &&
    given.every((name) => matches(NAME, name))
  );
}
