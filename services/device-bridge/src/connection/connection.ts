import { toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { type Catalog, CatalogSchema } from '@zerolatency/proto/bridge';
import { Backoff } from '../backoff.ts';
import { dialling } from './dialling.ts';
import { controlFrame } from './proving.ts';
import type { ConnectionDeps, ConnectionState, Machine } from './state.ts';
import type { Wire } from './wire.ts';

/** What was sent last is on its way by then, if the relay reads at all. */
const closeGraceMs = 1_000;

/** The device's one connection to a relay. The states are drawn in state.ts. */
export class Connection {
  readonly #machine: Machine;
  #state: ConnectionState = { name: 'idle', leave: () => {} };
  #relayIndex = -1;
  /** Changed while a relay was told the one before it. */
  #untold: Catalog | undefined;
  /** Since the dial of the attempt that is under way. */
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

  /** The credential, or what else a refusal was about, is another now. */
  changed(): void {
    this.#hasChanged = true;
    if (this.#state.name !== 'refused') return;
    this.#machine.backoff.reset();
    this.#dial();
  }

  /** Dropped unless live: what must not be lost is sent again by the call protocol. */
  send(frame: Frame): void {
    if (this.#state.name === 'live') this.#state.send(frame);
  }

  announce(catalog: Catalog): void {
    // The hello has been sent, perhaps, and the relay hears nothing else before its welcome.
    if (this.#state.name === 'proving') this.#untold = catalog;
    this.send(controlFrame(FrameKind.CATALOG, toBinary(CatalogSchema, catalog)));
  }

  /** Resolves once the relay has heard of it, or does not answer. */
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
      const timer = clock.setTimeout(done, closeGraceMs);
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
    const untold = this.#untold;
    this.#untold = undefined;
    if (before.name === 'dialling' && state.name !== 'proving') listener.onAttempt('failed');
    if (before.name === 'proving') {
      listener.onAttempt(state.name === 'live' || state.name === 'refused' ? state.name : 'failed');
    }
    listener.onState(state);
    if (state.name === 'live') {
      listener.onLive(state.epoch);
      if (untold !== undefined) this.announce(untold);
    }
    // What was refused is perhaps not what would be shown now.
    if (state.name === 'refused' && this.#hasChanged) this.changed();
  }
}
