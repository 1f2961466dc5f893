import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type Catalog, CatalogSchema, HelloSchema } from '@zerolatency/proto/bridge';
import type { DeviceLimits } from '../config.ts';

export interface Hello {
  readonly credential: string;
  readonly proof: string;
  readonly journalId: Uint8Array;
  readonly bridgeVersion: string;
  /** Catalog, encoded anew: nothing unknown is passed on. */
  readonly catalog: Uint8Array;
}

const JOURNAL_ID_BYTES = 16;
const MAX_CREDENTIAL_CHARS = 8 * 1024;
const MAX_PROOF_CHARS = 4 * 1024;
/** It is listed, and kept as long as the session. */
const bridgeVersionPattern = /^[\w.+-]{1,64}$/;

export type ReadHello = { readonly hello: Hello } | { readonly error: ZlError };
export type ReadCatalog = { readonly catalog: Uint8Array } | { readonly error: ZlError };

export function readHello(payload: Uint8Array, limits: DeviceLimits): ReadHello {
  const message = decode(() => fromBinary(HelloSchema, payload, { readUnknownFields: false }));
  if (message === undefined) return malformed('the hello cannot be read');
  const { credential, proof, journalId, bridgeVersion } = message;
  if (credential.length > MAX_CREDENTIAL_CHARS) return tooLarge('the credential is too long');
  if (proof.length > MAX_PROOF_CHARS) return tooLarge('the proof is too long');
  if (journalId.length !== JOURNAL_ID_BYTES) return malformed('journal_id has not 16 bytes');
  if (!bridgeVersionPattern.test(bridgeVersion)) return malformed('bridge_version is no version');
  const read = boundCatalog(message.catalog, limits);
  if ('error' in read) return read;
  return {
    hello: {
      credential,
      proof,
      bridgeVersion,
      // A view would keep the whole message alive.
      journalId: Uint8Array.from(journalId),
      catalog: read.catalog,
    },
  };
}

export function readCatalog(payload: Uint8Array, limits: DeviceLimits): ReadCatalog {
  const message = decode(() => fromBinary(CatalogSchema, payload, { readUnknownFields: false }));
  if (message === undefined) return malformed('the catalog cannot be read');
  return boundCatalog(message, limits);
}

function boundCatalog(catalog: Catalog | undefined, limits: DeviceLimits): ReadCatalog {
  if (catalog === undefined) return { catalog: new Uint8Array() };
  const { maxServers, maxTools, maxCatalogBytes } = limits;
  if (catalog.servers.length > maxServers) {
    return tooLarge(`a catalog has at most ${maxServers} servers`);
  }
  const tools = catalog.servers.reduce((sum, server) => sum + server.tools.length, 0);
  if (tools > maxTools) return tooLarge(`a catalog has at most ${maxTools} tools`);
  const bytes = toBinary(CatalogSchema, catalog);
  if (bytes.length > maxCatalogBytes) {
    return tooLarge(`a catalog has at most ${maxCatalogBytes} bytes`);
  }
  return { catalog: bytes };
}

function decode<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // The generated codec throws on what a peer sent; here that is an answer.
    return undefined;
  }
}

function malformed(message: string) {
  return { error: new ZlError('frame.malformed', message) };
}

function tooLarge(message: string) {
  return { error: new ZlError('limit.exceeded', message) };
}
