import type { DeviceDescription, PodAddress } from '../../directory/directory.ts';

/** What the value of a lease in Redis says. Who it is about and its epoch are beside it. */
export interface LeaseValue extends DeviceDescription, PodAddress {}

export type ReadLeaseValue =
  | { readonly value: LeaseValue; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** A reader refuses a later version. A new optional field leaves it as it is. */
const VERSION = 1;
const MAX_FEATURES = 32;
const NAME = /^[\w.+-]{1,128}$/;
const DIGEST = /^[\w-]{43}$/;
/** No user, query or fragment: it is used to dial. */
const LINK_URL = /^wss:\/\/[^/\s@?#]{1,260}\/[\w/-]{1,64}$/;
const RPC_URL = /^https:\/\/[^/\s@?#]{1,260}$/;

export function writeLeaseValue(value: LeaseValue): string {
  const { relayId, linkUrl, rpcUrl } = value;
  const { connectedUnixMs, bridgeVersion, features, catalogDigest } = value;
  const written = { relayId, linkUrl, rpcUrl, connectedUnixMs, bridgeVersion, features };
  return JSON.stringify({ v: VERSION, ...written, catalogDigest });
}

/** Redis may hold what another release or anybody else wrote. */
export function readLeaseValue(text: string): ReadLeaseValue {
  const given = parse(text);
  if (given === undefined) return { error: 'it is not a JSON object' };
  const { v, relayId, linkUrl, rpcUrl } = given;
  if (v !== VERSION) return { error: `its version is ${String(v)} and not ${VERSION}` };
  if (!matches(NAME, relayId)) return { error: 'its relayId is not a name' };
  if (!matches(LINK_URL, linkUrl)) return { error: 'its linkUrl is not a wss:// address' };
  if (!matches(RPC_URL, rpcUrl)) return { error: 'its rpcUrl is not an https:// address' };
  const { connectedUnixMs, bridgeVersion, features, catalogDigest } = given;
  if (typeof connectedUnixMs !== 'number' || !Number.isSafeInteger(connectedUnixMs)) {
    return { error: 'its connectedUnixMs is not a time' };
  }
  if (!matches(NAME, bridgeVersion)) return { error: 'its bridgeVersion is not a version' };
  if (!isNames(features)) return { error: 'its features are not names' };
  if (!matches(DIGEST, catalogDigest)) return { error: 'its catalogDigest is not a SHA-256' };
  const pod = { relayId, linkUrl, rpcUrl };
  return { value: { ...pod, connectedUnixMs, bridgeVersion, features, catalogDigest } };
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
