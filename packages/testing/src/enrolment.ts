import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { makeKey, type TestKey } from './key.ts';

interface DeviceOptions {
  readonly deviceId: string;
  readonly tenant?: string;
  readonly nowMs?: number;
  readonly expiresInMs?: number;
  /** The key of a device that enrolled before. */
  readonly deviceKey?: TestKey;
  /** A key other than the authority's, for a forged credential. */
  readonly signedBy?: TestKey;
}

interface ProofOptions {
  readonly nonce: Uint8Array;
  readonly relayId: string;
  readonly nowMs?: number;
}

export interface TestDevice {
  readonly deviceId: string;
  readonly tenant: string;
  readonly key: TestKey;
  readonly keyFile: string;
  readonly credential: string;
  readonly credentialFile: string;
  /** The proof in a hello, which answers the challenge. */
  proof(options: ProofOptions): Promise<string>;
}

export interface TestEnrolment {
  readonly issuer: string;
  readonly key: TestKey;
  readonly jwksFile: string;
  device(options: DeviceOptions): Promise<TestDevice>;
}

/** Enrols devices, and writes the key set with which relays and hosts verify their credentials. */
export async function makeEnrolment(
  dir: string,
  { issuer = 'https://enrolment.test' } = {},
): Promise<TestEnrolment> {
  const key = makeKey();
  const jwksFile = join(dir, `enrolment-${randomUUID()}.jwks.json`);
  writeFileSync(jwksFile, JSON.stringify({ keys: [key.publicJwk] }));

  const device = async (options: DeviceOptions): Promise<TestDevice> => {
    const { deviceId, tenant = 'north' } = options;
    const { deviceKey = makeKey() } = options;
    const credential = await signCredential({ ...options, tenant, issuer, deviceKey, key });
    const stem = join(dir, `device-${randomUUID()}`);
    const files = { keyFile: `${stem}.key.pem`, credentialFile: `${stem}.jwt` };
    writeFileSync(files.keyFile, deviceKey.privatePem, { mode: 0o600 });
    writeFileSync(files.credentialFile, credential);
    const proof = (challenge: ProofOptions) => signProof(deviceKey, challenge);
    return { deviceId, tenant, key: deviceKey, credential, proof, ...files };
  };
  return { issuer, key, jwksFile, device };
}

interface CredentialParts extends Omit<DeviceOptions, 'deviceKey'> {
  readonly issuer: string;
  readonly key: TestKey;
  readonly deviceKey: TestKey;
}

function signCredential(parts: CredentialParts): Promise<string> {
  const { kty, crv, x } = parts.deviceKey.publicJwk;
  const issuedAtS = Math.floor((parts.nowMs ?? Date.now()) / 1000);
  const lifetimeMs = parts.expiresInMs ?? 60 * 60 * 1000;
  return new SignJWT({ tenant: parts.tenant, cnf: { jwk: { kty, crv, x } } })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-device+jwt', kid: parts.key.kid })
    .setIssuer(parts.issuer)
    .setSubject(parts.deviceId)
    .setIssuedAt(issuedAtS)
    .setExpirationTime(issuedAtS + Math.floor(lifetimeMs / 1000))
    .sign((parts.signedBy ?? parts.key).privateKey);
}

function signProof(key: TestKey, { nonce, relayId, nowMs = Date.now() }: ProofOptions) {
  return new SignJWT({ nonce: Buffer.from(nonce).toString('base64url') })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-proof+jwt' })
    .setAudience(relayId)
    .setIssuedAt(Math.floor(nowMs / 1000))
    .sign(key.privateKey);
}
