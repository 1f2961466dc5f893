import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { ZlError } from '@zerolatency/errors';
import {
  type CertificateRule,
  certificateIdentity,
  clientChainFault,
  type ProvenIdentity,
} from '@zerolatency/identity';
import { parseCertificates, type TlsWatch } from '@zerolatency/service/tls';

export interface ClientCertificatesOptions {
  readonly rules: readonly CertificateRule[];
  /** Its authority issues the certificates. */
  readonly tls: Pick<TlsWatch, 'current' | 'subscribe'>;
  readonly nowMs?: () => number;
}

type Found = { readonly value: ProvenIdentity } | { readonly error: ZlError };

interface Known {
  readonly found: Found;
  readonly chain: readonly X509Certificate[];
  readonly withdrawal: AbortController;
}

/** A leaf, two intermediates and a root. */
const MAX_CHAIN = 4;

/** The identities of clients that showed a certificate, for as long as their connections are open. */
export class ClientCertificates {
  readonly #options: ClientCertificatesOptions;
  readonly #nowMs: () => number;
  readonly #known = new Map<TLSSocket, Known>();

  constructor(options: ClientCertificatesOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    options.tls.subscribe(({ ca }) => this.#recheck(ca));
  }

  /** Undefined for a client without a certificate. @throws ZlError identity.invalid when it is refused. */
  identify(socket: Socket): ProvenIdentity | undefined {
    if (!(socket instanceof TLSSocket)) return undefined;
    const known = this.#known.get(socket) ?? this.#examine(socket);
    if (known === undefined) return undefined;
    if ('error' in known.found) throw known.found.error;
    const { value } = known.found;
    if (value.expiresAtMs <= this.#nowMs()) throw refused('it has expired');
    if (known.withdrawal.signal.aborted) throw known.withdrawal.signal.reason;
    return value;
  }

  proves(socket: TLSSocket): boolean {
    const known = this.#known.get(socket) ?? this.#examine(socket);
    return known !== undefined && 'value' in known.found;
  }

  #examine(socket: TLSSocket): Known | undefined {
    const chain = chainOf(socket);
    const [leaf] = chain;
    if (leaf === undefined) return undefined;
    const withdrawal = new AbortController();
    const known = { found: this.#find(socket, chain, withdrawal.signal), chain, withdrawal };
    this.#known.set(socket, known);
    socket.once('close', () => this.#known.delete(socket));
    return known;
  }

  #find(socket: TLSSocket, chain: readonly X509Certificate[], withdrawn: AbortSignal): Found {
    const { rules, tls } = this.#options;
    const [leaf] = chain;
    const fault = socket.authorized
      ? clientChainFault(chain, parseCertificates(tls.current().ca), this.#nowMs())
      : `${socket.authorizationError}`;
    const identity = leaf && certificateIdentity(leaf, rules);
    if (fault !== undefined) return { error: refused(fault) };
    if (leaf === undefined || identity === undefined) {
      return { error: refused('no rule of identity.certificates fits its names') };
    }
    return { value: { identity, expiresAtMs: leaf.validToDate.getTime(), withdrawn } };
  }

  /** The authority has changed, and open connections were verified with the one before. */
  #recheck(ca: string): void {
    const roots = parseCertificates(ca);
    const reason = refused('its authority is no longer accepted');
    for (const { chain, withdrawal } of this.#known.values()) {
      if (clientChainFault(chain, roots, this.#nowMs()) !== undefined) withdrawal.abort(reason);
    }
  }
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (next?.raw !== undefined && chain.length < MAX_CHAIN) {
    const { raw, issuerCertificate }: DetailedPeerCertificate = next;
    chain.push(new X509Certificate(raw));
    // A root is its own issuer.
    next = issuerCertificate === next ? undefined : issuerCertificate;
  }
  return chain;
}

function refused(why: string): ZlError {
  return new ZlError('identity.invalid', `the client certificate is refused: ${why}`);
}
