import { createHash, randomBytes } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import type { Identity, ProvenIdentity } from '@zerolatency/identity';

/** Stands for an access token in a URL, once: an EventSource sends no headers. */
export interface IssuedTicket {
  readonly ticket: string;
  readonly expiresInS: number;
}

interface Ticket {
  readonly proven: ProvenIdentity;
  readonly turnId: string;
  readonly forget: () => void;
}

/** Bounds the streams of an identity; a ticket holds the slot of the stream that it is for. */
export interface StreamSlots {
  /** @throws ZlError limit.exceeded. Returns what gives the slot back. */
  take(identity: Identity): () => void;
}

const LIFETIME_S = 30;
const TICKET_BYTES = 32;

/** Tickets of this pod, each for the events of one turn. */
export class Tickets {
  readonly #slots: StreamSlots;
  /** By digest, because a ticket is a secret. */
  readonly #open = new Map<string, Ticket>();

  constructor(slots: StreamSlots) {
    this.#slots = slots;
  }

  /** @throws ZlError limit.exceeded */
  issue(proven: ProvenIdentity, turnId: string): IssuedTicket {
    const release = this.#slots.take(proven.identity);
    const ticket = randomBytes(TICKET_BYTES).toString('base64url');
    const id = digest(ticket);
    const forget = () => {
      clearTimeout(timer);
      this.#open.delete(id);
      release();
    };
    const timer = setTimeout(forget, LIFETIME_S * 1000).unref();
    this.#open.set(id, { proven, turnId, forget });
    return { ticket, expiresInS: LIFETIME_S };
  }

  /** @throws ZlError identity.invalid */
  redeem(ticket: string, turnId: string): ProvenIdentity {
    const found = this.#open.get(digest(ticket));
    found?.forget();
    const { proven } = found ?? {};
    if (proven === undefined || found?.turnId !== turnId) {
      throw new ZlError('identity.invalid', 'the ticket is used, expired or for another turn');
    }
    if (proven.withdrawn?.aborted) throw proven.withdrawn.reason;
    return proven;
  }
}

function digest(ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64');
}
