import { fromUnknown } from '@zerolatency/errors';
import { readMessage } from '@zerolatency/frame';
import type { DeviceIdentity } from '@zerolatency/identity';
import { RenewSchema } from '@zerolatency/proto/bridge';
import { Bucket } from '@zerolatency/service/network';
import type { Clock } from '../ports.ts';
import { credentialFrame } from '../routing/relay-frames.ts';
import { type Disconnect, malformed, overLimit } from './disconnect.ts';
import { MAX_CREDENTIAL_CHARS, MAX_PROOF_CHARS, type ProvedDevice } from './hello.ts';

export interface RenewalRequest {
  readonly credential: string;
  readonly proof: string;
}

export interface RenewedDevice extends ProvedDevice {
  readonly credential: string;
}

/** Asks the registrar: a relay holds no key that issues anything. */
export interface Renewer {
  /** Rejects with the error that the device is told. */
  renew(request: RenewalRequest, device: DeviceIdentity): Promise<RenewedDevice>;
}

export interface SessionRenewalOptions {
  readonly renewer: Renewer;
  readonly device: DeviceIdentity;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  send(frame: Uint8Array): void;
  onRenewed(renewed: RenewedDevice): void;
  /** A request was not answered: one is under way, or there were too many. */
  onDropped(): void;
}

/** One renewal is due in half a day; a few tries follow each failure. */
const RATE = { burst: 4, perSecond: 1 / 15 };

/** Answers the RENEW frames of one device, one at a time. */
export class SessionRenewal {
  readonly #options: SessionRenewalOptions;
  readonly #rate: Bucket;
  #isBusy = false;
  #isClosed = false;

  constructor(options: SessionRenewalOptions) {
    this.#options = options;
    this.#rate = new Bucket(RATE, options.clock.monotonicMs());
  }

  receive(payload: Uint8Array): Disconnect | undefined {
    const asked = readMessage(RenewSchema, payload);
    if (asked === undefined) return malformed('the renewal cannot be read');
    const { credential, proof } = asked;
    if (credential.length > MAX_CREDENTIAL_CHARS || proof.length > MAX_PROOF_CHARS) {
      return overLimit('the credential or proof of the renewal is too long');
    }
    if (this.#isBusy || !this.#rate.take(this.#options.clock.monotonicMs())) {
      this.#options.onDropped();
      return undefined;
    }
    this.#isBusy = true;
    void this.#answer({ credential, proof });
    return undefined;
  }

  close(): void {
    this.#isClosed = true;
  }

  async #answer(request: RenewalRequest): Promise<void> {
    const { renewer, device, send, onRenewed } = this.#options;
    try {
      const renewed = await renewer.renew(request, device);
      if (this.#isClosed) return;
      onRenewed(renewed);
      send(credentialFrame({ credential: renewed.credential }));
    } catch (reason) {
      if (!this.#isClosed) send(credentialFrame({ errorId: fromUnknown(reason).id }));
    } finally {
      this.#isBusy = false;
    }
  }
}
