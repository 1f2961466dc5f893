import { toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { readMessage } from '@zerolatency/frame';
import { type Catalog, CatalogSchema, HelloSchema } from '@zerolatency/proto/bridge';
import type { CredentialFacts } from '@zerolatency/revocations';
import type { DeviceLimits } from '../config.ts';

export interface Hello {
  readonly credential: string;
  readonly proof: string;
  readonly journalId: Uint8Array;
  readonly bridgeVersion: string;
  /** Re-encoded, so that unknown fields are not passed on. */
  readonly catalog: Uint8Array;
  /** Passed on to hosts, known here or not. */
  readonly features: readonly string[];
  /** The device belongs here for now, whichever its pod is. */
  readonly noRedirect: boolean;
  /** 0 when the device knows none. */
  readonly lastEpoch: number;
}

export interface ProvedDevice extends CredentialFacts {
  /** The session ends when its credential does. */
  readonly expiresAtMs: number;
}

/** Checks credential and proof of a hello. The error is device.credential_invalid. */
export interface HelloVerifier {
  verify(hello: {
    readonly credential: string;
    readonly proof: string;
    readonly nonce: Uint8Array;
  }): Promise<ProvedDevice | { readonly error: ZlError }>;
  /** The device that a credential names, without a proof. */
  check(credential: string): Promise<ProvedDevice | { readonly error: ZlError }>;
}

const JOURNAL_ID_BYTES = 16;
export const MAX_CREDENTIAL_CHARS = 8 * 1024;
export const MAX_PROOF_CHARS = 4 * 1024;
/** Bounded: it is kept as long as the session, and listed. */
const BRIDGE_VERSION_PATTERN = /^[\w.+-]{1,64}$/;

const MAX_FEATURES = 32;
const FEATURE_PATTERN = /^[\w.-]{1,64}$/;
/** Shared by all devices that name none. */
const NO_FEATURES: readonly string[] = [];

export type ReadHello = { readonly hello: Hello } | { readonly error: ZlError };
export type ReadCatalog = { readonly catalog: Uint8Array } | { readonly error: ZlError };

export function readHello(payload: Uint8Array, limits: DeviceLimits): ReadHello {
  const message = readMessage(HelloSchema, payload);
  if (message === undefined) return malformed('the hello cannot be read');
  const { credential, proof, journalId, bridgeVersion } = message;
  if (credential.length > MAX_CREDENTIAL_CHARS) return tooLarge('the credential is too long');
  if (proof.length > MAX_PROOF_CHARS) return tooLarge('the proof is too long');
  if (journalId.length !== JOURNAL_ID_BYTES)
    return malformed(`journal_id must have ${JOURNAL_ID_BYTES} bytes`);
  if (!BRIDGE_VERSION_PATTERN.test(bridgeVersion))
    return malformed('bridge_version is not a version');
  const { features } = message;
  if (features.length > MAX_FEATURES)
    return tooLarge(`the hello has more than ${MAX_FEATURES} features`);
  if (!features.every((name) => FEATURE_PATTERN.test(name)))
    return malformed('a feature is not a name of up to 64 characters');
  const read = boundCatalog(message.catalog, limits);
  if ('error' in read) return read;
  return {
    hello: {
      credential,
      proof,
      bridgeVersion,
      // A view would keep the whole message in memory.
      journalId: Uint8Array.from(journalId),
      catalog: read.catalog,
      features: features.length === 0 ? NO_FEATURES : features,
      noRedirect: message.noRedirect,
      lastEpoch: Number(message.lastEpoch),
    },
  };
}

export function readCatalog(payload: Uint8Array, limits: DeviceLimits): ReadCatalog {
  const message = readMessage(CatalogSchema, payload);
  if (message === undefined) return malformed('the catalog cannot be read');
  return boundCatalog(message, limits);
}

function boundCatalog(catalog: Catalog | undefined, limits: DeviceLimits): ReadCatalog {
  if (catalog === undefined) return { catalog: new Uint8Array() };
  const { maxServers, maxTools, maxCatalogBytes } = limits;
  if (catalog.servers.length > maxServers) {
    return tooLarge(`the catalog has more than ${maxServers} servers`);
  }
  const tools = catalog.servers.reduce((sum, server) => sum + server.tools.length, 0);
  if (tools > maxTools) return tooLarge(`the catalog has more than ${maxTools} tools`);
  const bytes = toBinary(CatalogSchema, catalog);
  if (bytes.length > maxCatalogBytes) {
    return tooLarge(`the catalog has more than ${maxCatalogBytes} bytes`);
  }
  return { catalog: bytes };
}

function malformed(message: string) {
  return { error: new ZlError('frame.malformed', message) };
}

function tooLarge(message: string) {
  return { error: new ZlError('limit.exceeded', message) };
}
