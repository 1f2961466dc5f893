import { toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { type Catalog, CatalogSchema } from '@zerolatency/proto/bridge';
import { Backoff } from '@zerolatency/service/backoff';
import { controlFrame, dialling } from './handshake.ts';
import type { ConnectionDeps, ConnectionState, Machine, Wire } from './state.ts';

/** Long enough for the last frames to leave, if the relay reads at all. */
const CLOSE_GRACE_MS = 1_000;

/** The device's one connection to a relay; state.ts draws its states. */
export class Connection {
  readonly #machine: Machine;
  #state: ConnectionState = { name: 'idle', leave: () => {} };
  #relayIndex = -1;
  /** Changed while the relay was receiving the one before it. */
  #unsent: Catalog | undefined;
  /** Since the current attempt began to dial. */
  #hasChanged = false;

  constructor(deps: ConnectionDeps) {
    const { minBackoffMs: minMs, maxBackoffMs: maxMs } = deps.limits;
    this.#machine = {
      deps,
      backoff: new Backoff({ minMs, maxMs }),
      nextRelay: () => {
        this.#relayIndex = (this.#relayIndex + 1) % deps.relays.length;
        return deps.relays[this.#relayIndex] ?? '';
      },
      become: (build) => this.#become(build),
      redial: () => this.#dial(),
    };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  start(): void {
    if (this.#state.name === 'idle') this.#dial();
  }

  /** The credential, or whatever else caused a refusal, has changed. */
  changed(): void {
    this.#hasChanged = true;
    if (this.#state.name !== 'refused') return;
    this.#machine.backoff.reset();
    this.#dial();
  }

  /** Drops the frame unless live: the call protocol resends what must not be lost. */
  send(frame: Frame): void {
    if (this.#state.name === 'live') this.#state.send(frame);
  }

  announce(catalog: Catalog): void {
    // The hello may have been sent, and the relay reads nothing else before its welcome.
    if (this.#state.name === 'proving') this.#unsent = catalog;
    this.send(controlFrame(FrameKind.CATALOG, toBinary(CatalogSchema, catalog)));
  }

  /** Resolves once the relay has closed its side, or does not answer in time. */
  async close(): Promise<void> {
    const wire = 'wire' in this.#state ? this.#state.wire : undefined;
    this.#become(() => ({ name: 'closed', leave: () => {} }));
    if (wire !== undefined) await this.#closeWire(wire);
  }

  #dial(): void {
    this.#hasChanged = false;
    this.#become(() => dialling(this.#machine));
  }

  #closeWire(wire: Wire): Promise<void> {
    const { clock } = this.#machine.deps;
    return new Promise((resolve) => {
      const done = () => {
        clock.clearTimeout(timer);
        wire.drop();
        resolve();
      };
      const timer = clock.setTimeout(done, CLOSE_GRACE_MS);
      wire.listen({ onClose: done });
      wire.close(1000, 'the bridge stops');
    });
  }

  #become(build: () => ConnectionState): void {
    const before = this.#state;
    if (before.name === 'closed') return;
    before.leave();
    const { listener } = this.#machine.deps;
    if (before.name === 'live') listener.onLost();
    const state = build();
    this.#state = state;
    const unsent = this.#unsent;
    this.#unsent = undefined;
    if (before.name === 'dialling' && state.name !== 'proving') listener.onAttempt('failed');
    if (before.name === 'proving') {
      listener.onAttempt(state.name === 'live' || state.name === 'refused' ? state.name : 'failed');
    }
    listener.onState(state);
    if (state.name === 'live') {
      listener.onLive(state.epoch);
      if (unsent !== undefined) this.announce(unsent);
    }
    // The refusal may be about a credential that has been replaced since.
    if (state.name === 'refused' && this.#hasChanged) this.changed();
  }
}
