import { ZlError } from '@zerolatency/errors';
import { ReplayGuard, verifyPeerToken } from '@zerolatency/identity';
import type { Clock } from '../../ports.ts';
import type { HostVerifier } from '../../routing/link-gate.ts';

export interface HostVerifierOptions {
  readonly relayId: string;
  readonly tls: { current(): { readonly ca: string } };
  readonly clock: Pick<Clock, 'unixMs'>;
}

/** Links opened within the life of a token, a minute and a half: far more than there are hosts. */
const MAX_REMEMBERED_TOKENS = 10_000;

/** Identifies a host by the token it signed with the key of its certificate (docs/adr/0002). */
export function createHostVerifier({ relayId, tls, clock }: HostVerifierOptions): HostVerifier {
  const replays = new ReplayGuard({ maxEntries: MAX_REMEMBERED_TOKENS });
  return {
    verify: (authorization) => {
      const [, token] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
      if (token === undefined) {
        return { error: new ZlError('identity.missing', 'a link needs "Bearer <peer token>"') };
      }
      const nowMs = clock.unixMs();
      const peer = verifyPeerToken(token, { ca: tls.current().ca, audience: relayId, nowMs });
      if ('error' in peer) return peer;
      if (!replays.admit(peer.jti, peer.expiresAtMs, nowMs)) {
        return { error: new ZlError('identity.invalid', 'the peer token was used before') };
      }
      return { name: peer.name };
    },
  };
}
