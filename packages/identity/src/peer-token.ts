import type { KeyObject } from 'node:crypto';

export const PEER_TOKEN_TYPE = 'zl-peer+jwt';
export const TOKEN_LIFETIME_S = 60;
/** What two clocks kept by NTP differ by at the very worst. */
export const CLOCK_TOLERANCE_S = 30;

export type PeerTokenAlgorithm = 'EdDSA' | 'ES256' | 'RS256';

/** The one algorithm we use with a key, so that a token cannot choose another. */
export function algorithmOf(key: KeyObject): PeerTokenAlgorithm | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return 'EdDSA';
    case 'ec':
      return details?.namedCurve === 'prime256v1' ? 'ES256' : undefined;
    case 'rsa':
      return (details?.modulusLength ?? 0) >= 2048 ? 'RS256' : undefined;
    default:
      return undefined;
  }
}
