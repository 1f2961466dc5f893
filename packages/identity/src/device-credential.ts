import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import {
  calculateJwkThumbprint,
  decodeJwt,
  exportJWK,
  importJWK,
  type JWK,
  type JWTPayload,
  type JWTVerifyGetKey,
  SignJWT,
} from 'jose';
import { algorithmOf, JWT_KINDS, type JwtRules, verifyJwt } from './jwt.ts';
import { parseName } from './names.ts';
import type { DeviceIdentity } from './principal.ts';

/** The public key that a credential binds a device to. */
export interface DevicePublicKey {
  readonly jwk: JWK;
  /** The one algorithm we use with the key, so that a proof cannot choose another. */
  readonly algorithm: 'EdDSA' | 'ES256';
}

export interface ProvenDevice {
  readonly device: DeviceIdentity;
  readonly key: DevicePublicKey;
  /** Undefined when the credential does not state it. */
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number;
}

type Result<T> =
  | { readonly value: T; readonly error?: undefined; readonly cause?: undefined }
  | { readonly value?: undefined; readonly error: string; readonly cause?: unknown };

/** More than a relay grants, so that a host reaches every device a relay still holds. */
export const HOST_CREDENTIAL_TOLERANCE_S = 60;

const ALGORITHMS = { EdDSA: ['EdDSA', 'Ed25519'], ES256: ['ES256'] };

/** The device that a credential of the enrolment authority names, and the key that proves it. */
export async function verifyDeviceCredential(
  credential: string,
  keys: JWTVerifyGetKey,
  rules: Pick<JwtRules, 'issuer' | 'nowMs' | 'toleranceS'>,
): Promise<Result<ProvenDevice>> {
  const verified = await verifyJwt('deviceCredential', credential, keys, rules);
  if (verified.error !== undefined) return verified;
  const { value: claims, expiresAtMs } = verified;
  const device = deviceOf(claims);
  if (device.error !== undefined) return device;
  const key = publicKeyOf(claims.cnf);
  if (key.error !== undefined) return key;
  const issuedAtMs = claims.iat === undefined ? undefined : claims.iat * 1000;
  return { value: { device: device.value, key: key.value, issuedAtMs, expiresAtMs } };
}

interface ReadCredential extends DeviceIdentity {
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number | undefined;
  readonly key: DevicePublicKey | undefined;
}

/**
 * The device's own reading, without a signature check: a device that changes
 * its credential only locks itself out.
 */
export function readDeviceCredential(credential: string): Result<ReadCredential> {
  try {
    const claims = decodeJwt(credential);
    const device = deviceOf(claims);
    if (device.error !== undefined) return device;
    const [issuedAtMs, expiresAtMs] = [claims.iat, claims.exp].map((s) => s && s * 1000);
    const key = publicKeyOf(claims.cnf).value;
    return { value: { ...device.value, issuedAtMs, expiresAtMs, key } };
  } catch (cause) {
    return { error: 'it cannot be read', cause };
  }
}

export interface Challenge {
  readonly nonce: Uint8Array;
  /** The relay that asks. */
  readonly audience: string;
  readonly nowMs: number;
}

/** Proves that the device holds its key now. Ed25519 or P-256. */
export function signPossession(
  key: KeyObject,
  { nonce, audience, nowMs }: Challenge,
): Promise<string> {
  const [typ] = JWT_KINDS.possessionProof.types;
  return new SignJWT({ nonce: encodeNonce(nonce) })
    .setProtectedHeader({ alg: algorithmOf(key) ?? 'EdDSA', typ })
    .setAudience(audience)
    .setIssuedAt(Math.floor(nowMs / 1000))
    .sign(key);
}

/** Why the proof does not hold; undefined when it does. */
export async function possessionFault(
  proof: string,
  { jwk, algorithm }: DevicePublicKey,
  { nonce, audience, nowMs }: Challenge,
): Promise<string | undefined> {
  const rules = { audience, nowMs, algorithms: ALGORITHMS[algorithm] };
  const key = await importJWK(jwk, algorithm).catch(() => undefined);
  if (key === undefined) return 'the key in its cnf cannot be used';
  const { value, error } = await verifyJwt('possessionProof', proof, key, rules);
  if (error !== undefined) return error;
  return value.nonce === encodeNonce(nonce) ? undefined : 'it answers another challenge';
}

/** Asks for the successor of a credential, and shows that the device holds its key. */
export function signRenewal(key: KeyObject, credential: string): Promise<string> {
  const [typ] = JWT_KINDS.renewalProof.types;
  return new SignJWT({ credential_hash: hashOf(credential) })
    .setProtectedHeader({ alg: algorithmOf(key) ?? 'EdDSA', typ })
    .sign(key);
}

/** Why the proof does not ask for the successor of this credential; undefined when it does. */
export async function renewalFault(
  proof: string,
  { jwk, algorithm }: DevicePublicKey,
  { credential, nowMs }: { readonly credential: string; readonly nowMs: number },
): Promise<string | undefined> {
  const key = await importJWK(jwk, algorithm).catch(() => undefined);
  if (key === undefined) return 'the key in its cnf cannot be used';
  const rules = { nowMs, algorithms: ALGORITHMS[algorithm] };
  const { value, error } = await verifyJwt('renewalProof', proof, key, rules);
  if (error !== undefined) return error;
  return value.credential_hash === hashOf(credential) ? undefined : 'it is for another credential';
}

/** Why a device must not keep this credential in the place of its own; undefined when it may. */
export function successorFault(
  next: string,
  { credential, key }: { readonly credential: string; readonly key: KeyObject },
): string | undefined {
  const [read, own] = [readDeviceCredential(next), readDeviceCredential(credential)];
  if (read.error !== undefined) return read.error;
  if (own.error !== undefined) return own.error;
  if (read.value.tenant !== own.value.tenant || read.value.deviceId !== own.value.deviceId) {
    return 'it is of another device';
  }
  const jwk = read.value.key?.jwk;
  if (jwk === undefined || !isKeyOf(jwk, key)) return 'it is for another key';
  const isLater = (read.value.expiresAtMs ?? 0) > (own.value.expiresAtMs ?? 0);
  return isLater ? undefined : 'it does not expire later';
}

/** Why a device must not keep the credential that an enrolment gave it; undefined when it may. */
export function enrolledFault(
  credential: string,
  given: {
    /** As whom the registrar says that the device is enrolled. */
    readonly device: DeviceIdentity;
    readonly key: KeyObject;
    /** What the device had before; absent at the first enrolment. */
    readonly earlier?: string | undefined;
  },
): string | undefined {
  const { value, error } = readDeviceCredential(credential);
  if (error !== undefined) return error;
  const { tenant, deviceId } = given.device;
  if (value.tenant !== tenant || value.deviceId !== deviceId) {
    return `it is for ${value.deviceId} of ${value.tenant}, and not for ${deviceId} of ${tenant}`;
  }
  if (value.key === undefined || !isKeyOf(value.key.jwk, given.key)) return 'it is for another key';
  const before = given.earlier && readDeviceCredential(given.earlier).value?.tenant;
  if (!before || before === tenant) return undefined;
  return `it is of the tenant ${tenant}, and the device belongs to ${before}; give another one a folder of its own`;
}

function isKeyOf(jwk: JWK, key: KeyObject): boolean {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' }).equals(createPublicKey(key));
  } catch {
    // Not a point of its curve.
    return false;
  }
}

function hashOf(credential: string): string {
  return hash('sha256', credential, 'base64url');
}

/** A private key that another program holds. */
export interface RemoteKey {
  readonly publicKey: KeyObject;
  /** Ed25519, or P-256 with SHA-256 as the two numbers one after another (RFC 7518). */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** What enrolment gives a device: its name and tenant, bound to the key it made. */
export async function issueDeviceCredential(request: {
  readonly device: DeviceIdentity;
  readonly devicePublicKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject | RemoteKey;
  readonly nowMs: number;
  readonly validForMs: number;
}): Promise<string> {
  const { device, devicePublicKey, issuer, issuerKey, nowMs, validForMs } = request;
  const [typ] = JWT_KINDS.deviceCredential.types;
  const publicKey = 'publicKey' in issuerKey ? issuerKey.publicKey : createPublicKey(issuerKey);
  const kid = await calculateJwkThumbprint(await exportJWK(publicKey));
  const header = { alg: algorithmOf(publicKey) ?? 'EdDSA', typ, kid };
  const claims = {
    ...{ tenant: device.tenant, cnf: { jwk: await exportJWK(devicePublicKey) } },
    ...{ iss: issuer, sub: device.deviceId },
    iat: Math.floor(nowMs / 1000),
    exp: Math.floor((nowMs + validForMs) / 1000),
  };
  if (!('publicKey' in issuerKey)) {
    return new SignJWT(claims).setProtectedHeader(header).sign(issuerKey);
  }
  const signed = [header, claims].map((part) => base64Url(JSON.stringify(part))).join('.');
  return `${signed}.${base64Url(await issuerKey.sign(Buffer.from(signed)))}`;
}

function base64Url(bytes: string | Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

function deviceOf(claims: JWTPayload): Result<DeviceIdentity> {
  const tenant = parseName('tenant', claims.tenant);
  if (tenant.error !== undefined) return { error: `its claim "tenant" ${tenant.error}` };
  const deviceId = parseName('device', claims.sub);
  if (deviceId.error !== undefined) return { error: `its claim "sub" ${deviceId.error}` };
  return { value: { tenant: tenant.value, deviceId: deviceId.value } };
}

export function publicKeyOf(cnf: unknown): Result<DevicePublicKey> {
  const jwk = typeof cnf === 'object' && cnf !== null && 'jwk' in cnf ? cnf.jwk : undefined;
  if (typeof jwk !== 'object' || jwk === null) return { error: 'its cnf holds no jwk' };
  const { kty, crv, x, y }: Partial<Record<string, unknown>> = { ...jwk };
  // Only public parts are taken over, and only of curves we name: no shared secrets.
  if (kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string') {
    return { value: { jwk: { kty, crv, x }, algorithm: 'EdDSA' } };
  }
  if (kty === 'EC' && crv === 'P-256' && typeof x === 'string' && typeof y === 'string') {
    return { value: { jwk: { kty, crv, x, y }, algorithm: 'ES256' } };
  }
  return { error: 'the key in its cnf is neither Ed25519 nor P-256' };
}

function encodeNonce(nonce: Uint8Array): string {
  return base64Url(nonce);
}
