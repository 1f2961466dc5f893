import type { KeyObject } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FEATURES } from '@zerolatency/frame';
import { type Catalog, ChallengeSchema, HelloSchema } from '@zerolatency/proto/bridge';
import { SignJWT } from 'jose';

export interface DeviceIdentity {
  /** JWS by the enrolment authority. */
  readonly credential: string;
  readonly key: KeyObject;
}

export interface HelloParts {
  readonly identity: DeviceIdentity;
  readonly journalId: Uint8Array;
  readonly bridgeVersion: string;
  readonly catalog: Catalog;
  readonly nowMs: number;
}

/** The answer to a challenge: who we are, and that the key is in our hands now. */
export async function answerChallenge(challenge: Uint8Array, parts: HelloParts) {
  const { nonce, relayId } = fromBinary(ChallengeSchema, challenge);
  const { identity, journalId, bridgeVersion, catalog } = parts;
  const proof = await new SignJWT({ nonce: Buffer.from(nonce).toString('base64url') })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-proof+jwt' })
    .setAudience(relayId)
    .setIssuedAt(Math.floor(parts.nowMs / 1000))
    .sign(identity.key);
  const { credential } = identity;
  const hello = create(HelloSchema, {
    credential,
    proof,
    journalId,
    bridgeVersion,
    catalog,
    features: [...FEATURES],
  });
  return { relayId, payload: toBinary(HelloSchema, hello) };
}
