import { toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { type Catalog, CatalogSchema } from '@zerolatency/proto/bridge';
import { Backoff } from '@zerolatency/service/backoff';
import { controlFrame, dialling } from './handshake.ts';
import {
  type Attempt,
  type ConnectionDeps,
  type ConnectionState,
  type LiveState,
  type Machine,
  type Redirection,
  readRedirect,
  type Target,
  type Wire,
} from './state.ts';
import { TransportChoice } from './transport-choice.ts';

/** Long enough for the last frames to leave, if the relay reads at all. */
const CLOSE_GRACE_MS = 1_000;

/** The device's connection to its relay, and to the next one while that takes over; state.ts draws its states. */
export class Connection {
  readonly #machine: Machine;
  #state: ConnectionState = { name: 'idle', leave: () => {} };
  #relayIndex = -1;
  /** Changed while a relay was receiving the one before it. */
  #unsent: Catalog | undefined;
  /** Since the current attempt began to dial. */
  #hasChanged = false;
  /** Until the device is live again, so that relays that disagree do not send it back and forth. */
  #noRedirect = false;
  #lastEpoch: number;
  /** Cuts the socket of the relay before, whose last frames may still leave. */
  #cutFormer = () => {};

  constructor(deps: ConnectionDeps) {
    const { minBackoffMs: minMs, maxBackoffMs: maxMs } = deps.limits;
    this.#lastEpoch = deps.lastEpoch;
    this.#machine = {
      deps,
      backoff: new Backoff({ minMs, maxMs }),
      transports: new TransportChoice(),
      nextRelay: () => {
        this.#relayIndex = (this.#relayIndex + 1) % deps.relays.length;
        return deps.relays[this.#relayIndex] ?? '';
      },
      noRedirect: () => this.#noRedirect,
      lastEpoch: () => this.#lastEpoch,
      takeNoRedirect: () => {
        this.#noRedirect = true;
      },
      follow: (redirect, relay) => this.#follow(redirect, relay),
      change: (from, build) => this.#change(from, build),
      redial: (from, target) => this.#dial(from, target),
      moveOn: (from, build) => this.#moveOn(from, build),
    };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  start(): void {
    if (this.#state.name === 'idle') this.#dial(this.#state);
  }

  /** The credential, or whatever else caused a refusal, has changed. */
  changed(): void {
    this.#hasChanged = true;
    const attempt = this.#attempt;
    if (attempt?.name !== 'refused') return;
    this.#machine.backoff.reset();
    this.#dial(attempt);
  }

  /** Drops the frame unless live: the call protocol resends what must not be lost. */
  send(frame: Frame): void {
    if (this.#state.name === 'live') this.#state.send(frame);
  }

  announce(catalog: Catalog): void {
    // The hello may have been sent, and the relay reads nothing else before its welcome.
    if (this.#attempt?.name === 'proving') this.#unsent = catalog;
    this.send(controlFrame(FrameKind.CATALOG, toBinary(CatalogSchema, catalog)));
  }

  /** Resolves once the relay has closed its side, or does not answer in time. */
  async close(): Promise<void> {
    const state = this.#state;
    const attempt = this.#attempt;
    state.leave();
    attempt?.leave();
    this.#cutFormer();
    if (state.name === 'live') this.#machine.deps.listener.onLost();
    if (attempt !== undefined) this.#report(attempt, 'closed');
    this.#enter({ name: 'closed', leave: () => {} });
    if (state !== attempt && attempt !== undefined && 'wire' in attempt) attempt.wire.drop();
    if ('wire' in state) await this.#closeWire(state.wire, 'the bridge stops').closed;
  }

  /** At most one is on its way to a relay: alone, or beside the relay that drains. */
  get #attempt(): Attempt | undefined {
    const state = this.#state;
    if (state.name === 'idle' || state.name === 'closed') return undefined;
    return state.name === 'live' ? state.successor : state;
  }

  #dial(from: ConnectionState, target: Target = {}): void {
    this.#hasChanged = false;
    this.#cutFormer();
    this.#change(from, () => dialling(this.#machine, target));
  }

  #follow(redirect: Frame, relay: string): Redirection | undefined {
    const target = this.#noRedirect ? undefined : readRedirect(redirect);
    // Without an attempt the device is live, and a redirect that it refuses changes nothing.
    this.#noRedirect ||= target !== undefined || this.#attempt !== undefined;
    this.#machine.deps.listener.onRedirect(relay, target?.url);
    return target;
  }

  #closeWire(wire: Wire, why: string) {
    const { clock } = this.#machine.deps;
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const cut = () => {
      clock.clearTimeout(timer);
      wire.drop();
      resolve();
    };
    const timer = clock.setTimeout(cut, CLOSE_GRACE_MS);
    wire.listen({ onClose: cut });
    wire.close(1000, why);
    return { closed, cut };
  }

  #change(from: ConnectionState, build: () => Attempt | LiveState): void {
    const state = this.#state;
    if (from !== state) {
      if (state.name === 'live' && from === state.successor) this.#succeed(state, from, build);
      return;
    }
    state.leave();
    if (state.name === 'live') {
      this.#machine.deps.listener.onLost();
      this.#enter(state.successor ?? build());
    } else {
      const next = build();
      this.#report(state, next.name);
      this.#enter(next);
    }
  }

  #moveOn(from: LiveState, build: () => Attempt): void {
    if (from !== this.#state || from.successor !== undefined) return;
    from.successor = build();
    this.#machine.deps.listener.onState(from);
  }

  /** The relay before goes on until the next one has welcomed the device. */
  #succeed(state: LiveState, from: Attempt, build: () => Attempt | LiveState): void {
    from.leave();
    const next = build();
    this.#report(from, next.name);
    if (next.name !== 'live') {
      const isOver = next.name === 'lost' || next.name === 'refused';
      if (isOver && !state.isDraining) this.#stay(state, next);
      else state.successor = next;
      this.#enter(state);
      return;
    }
    state.leave();
    // What still arrives on it is dropped: its sender resumes at the next relay.
    this.#cutFormer = this.#closeWire(state.wire, 'moved to another connection').cut;
    this.#enter(next);
  }

  /** Nothing forces the device to leave its relay. */
  #stay(state: LiveState, failed: Attempt): void {
    failed.leave();
    state.successor = undefined;
    this.#noRedirect = false;
  }

  #enter(state: ConnectionState): void {
    const isNew = this.#state !== state;
    const unsent = this.#unsent;
    this.#unsent = undefined;
    this.#state = state;
    const { listener } = this.#machine.deps;
    listener.onState(state);
    if (state.name === 'live' && isNew) {
      this.#noRedirect = false;
      this.#lastEpoch = Math.max(this.#lastEpoch, state.epoch);
      listener.onLive(state.epoch);
      if (unsent !== undefined) this.announce(unsent);
    }
    // The refusal may be about a credential that has been replaced since.
    if (this.#attempt?.name === 'refused' && this.#hasChanged) this.changed();
  }

  #report(before: ConnectionState, name: ConnectionState['name']): void {
    const { listener } = this.#machine.deps;
    if (before.name === 'dialling' && name !== 'proving') listener.onAttempt('failed');
    // One that is redirected goes on elsewhere.
    if (before.name === 'proving' && name !== 'dialling') {
      listener.onAttempt(name === 'live' || name === 'refused' ? name : 'failed');
    }
  }
}
