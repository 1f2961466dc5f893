import { ZlError } from '@zerolatency/errors';
import type { Admission, UpgradeRefusal, UpgradeRequest } from '../sockets/socket-engine.ts';
import { HostLink, type LinkContext, type LinkObserver } from './host-link.ts';

/** Authenticates a host by the Authorization header of its upgrade. */
export interface HostVerifier {
  verify(authorization: string): { readonly name: string } | { readonly error: ZlError };
}

/** Admits links and keeps the open ones. */
export class LinkGate implements LinkObserver {
  readonly #context: LinkContext;
  readonly #verifier: HostVerifier;
  readonly #links = new Set<HostLink>();
  #isOver = false;

  constructor(context: LinkContext, verifier: HostVerifier) {
    this.#context = context;
    this.#verifier = verifier;
  }

  get size(): number {
    return this.#links.size;
  }

  get handles(): number {
    let sum = 0;
    for (const { handles } of this.#links) sum += handles;
    return sum;
  }

  admit({ arrival, authorization }: UpgradeRequest): Admission {
    const refusal = this.#refusal();
    if (refusal !== undefined) return { refusal };
    const host = this.#verifier.verify(authorization);
    if ('error' in host) return { refusal: { status: 401, error: host.error } };
    if (!this.#context.limits.allowedHosts.includes(host.name)) {
      const why = `"${host.name}" is not in links.allowedHosts`;
      return { refusal: { status: 403, error: new ZlError('identity.forbidden', why) } };
    }
    arrival.proved();
    const link = new HostLink(host.name, this.#context, this);
    this.#links.add(link);
    return { listener: link };
  }

  onGone(link: HostLink): void {
    this.#links.delete(link);
  }

  /** Links are still admitted: devices that have not moved yet can be called. */
  drain(closeAfterMs: number): void {
    for (const link of [...this.#links]) link.drain(closeAfterMs);
  }

  end(): void {
    this.#isOver = true;
    for (const link of [...this.#links]) link.end(1012, 'server.draining');
  }

  #refusal(): UpgradeRefusal | undefined {
    const { limits } = this.#context;
    if (this.#isOver) {
      return { status: 503, error: new ZlError('server.draining', 'this relay is shutting down') };
    }
    if (this.#links.size >= limits.max) {
      return { status: 503, error: new ZlError('limit.exceeded', 'too many links on this pod') };
    }
    return undefined;
  }
}
