import type { ZlError } from '@zerolatency/errors';
import type { OnMasked } from '@zerolatency/redaction';

export interface EndedRpc {
  /** Service and method, as gRPC writes them. */
  readonly method: string;
  /** Undefined when it ended well. */
  readonly error: ZlError | undefined;
  readonly seconds: number;
}

/** Where the chat RPCs tell what operators watch. Each that opened ends. */
export interface RpcObserver {
  opened(): void;
  ended(rpc: EndedRpc): void;
  /** Turned away at the gate, before it opened. */
  refused(rpc: Omit<EndedRpc, 'seconds'>): void;
  /** A secret that somebody wrote to us. */
  readonly masked: OnMasked;
}
