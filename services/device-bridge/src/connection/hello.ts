import type { KeyObject } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FEATURES } from '@zerolatency/frame';
import { signPossession } from '@zerolatency/identity';
import { type Catalog, ChallengeSchema, HelloSchema } from '@zerolatency/proto/bridge';

export interface DeviceCredentials {
  /** JWS by the enrolment authority. */
  readonly credential: string;
  readonly key: KeyObject;
}

export interface HelloParts {
  readonly identity: DeviceCredentials;
  readonly journalId: Uint8Array;
  readonly bridgeVersion: string;
  readonly catalog: Catalog;
  readonly nowMs: number;
}

/** Answers a challenge with the credential and a proof that the device holds its key now. */
export async function answerChallenge(challenge: Uint8Array, parts: HelloParts) {
  const { nonce, relayId } = fromBinary(ChallengeSchema, challenge);
  const { identity, journalId, bridgeVersion, catalog } = parts;
  const proof = await signPossession(identity.key, {
    nonce,
    audience: relayId,
    nowMs: parts.nowMs,
  });
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
