import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { Clock, Log } from '../../ports.ts';
import type { HelloVerifier } from '../../sessions/hello.ts';
import { deviceClaims } from './device-claims.ts';

export interface HelloVerifierOptions {
  readonly jwksFile: string;
  /** Empty: not looked at. */
  readonly issuer: string;
  readonly relayId: string;
  readonly clock: Pick<Clock, 'unixMs'>;
  readonly log: Log;
  readonly pollMs?: number;
}

export interface WatchedHelloVerifier extends HelloVerifier {
  /** Reads the key set again now. */
  check(): Promise<void>;
  close(): void;
}

type Signed = Parameters<HelloVerifier['verify']>[0];

// Asymmetric only: with a shared secret whoever verifies could also issue.
const CREDENTIAL_ALGORITHMS = ['EdDSA', 'ES256', 'RS256'];
const CREDENTIAL_TYPE = 'zl-device+jwt';
const PROOF_TYPE = 'zl-proof+jwt';
const CLOCK_TOLERANCE_S = 30;

/** Verifies credentials against the enrolment authority's key set file, which may change while we run. */
export async function openHelloVerifier(
  options: HelloVerifierOptions,
): Promise<WatchedHelloVerifier> {
  const { jwksFile, log, pollMs = 1000 } = options;
  let keys = parseKeys(await readFile(jwksFile, 'utf8'), jwksFile);
  const files = watchFiles({
    pollMs,
    files: async () => [jwksFile],
    onChange: (contents) => {
      keys = parseKeys(String(contents.get(jwksFile)), jwksFile);
      log.info({ jwksFile }, 'enrolment keys loaded');
    },
    onError: (err) => log.warn({ err, jwksFile }, 'enrolment keys kept; the file is unusable'),
  });
  return {
    verify: (hello) => verifyHello(hello, keys, options),
    check: () => files.check(),
    close: () => files.close(),
  };
}

async function verifyHello(hello: Signed, keys: JWTVerifyGetKey, options: HelloVerifierOptions) {
  try {
    const { payload } = await jwtVerify(hello.credential, keys, {
      ...(options.issuer === '' ? {} : { issuer: options.issuer }),
      algorithms: CREDENTIAL_ALGORITHMS,
      typ: CREDENTIAL_TYPE,
      requiredClaims: ['exp', 'sub', 'tenant', 'cnf'],
      currentDate: new Date(options.clock.unixMs()),
      clockTolerance: CLOCK_TOLERANCE_S,
    });
    const { device, key } = await deviceClaims(payload);
    const proof = await jwtVerify(hello.proof, key.key, {
      algorithms: [key.algorithm],
      typ: PROOF_TYPE,
      audience: options.relayId,
      requiredClaims: ['nonce', 'aud'],
      // The nonce says that it is fresh; a device's clock may say anything.
      currentDate: new Date(options.clock.unixMs()),
    });
    if (proof.payload.nonce !== Buffer.from(hello.nonce).toString('base64url')) {
      return refuse('the proof is of another challenge');
    }
    const expiresAtMs = ((payload.exp ?? 0) + CLOCK_TOLERANCE_S) * 1000;
    return { ...device, expiresAtMs };
  } catch (reason) {
    if (reason instanceof ZlError) return { error: reason };
    if (reason instanceof errors.JOSEError) return refuse(reason.message, reason);
    throw reason;
  }
}

function refuse(why: string, cause?: unknown): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', `hello refused: ${why}`, { cause }) };
}

function parseKeys(text: string, file: string): JWTVerifyGetKey {
  try {
    const set: JSONWebKeySet = JSON.parse(text);
    return createLocalJWKSet(set);
  } catch (cause) {
    throw new ZlError('config.invalid', `${file} is no JSON Web Key Set`, { cause });
  }
}
