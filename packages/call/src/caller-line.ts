import { create, toBinary } from '@bufbuild/protobuf';
import { callIdFromKey, type Frame, FrameKind, NO_PAYLOAD } from '@zerolatency/frame';
import { CallSchema, ResumeSchema } from '@zerolatency/proto/call';
import { type CallRequest, PROGRESS_FEATURE } from './call-request.ts';
import type { CallIntent, Route } from './caller-ports.ts';
import { NO_BYTES } from './outcome.ts';
import { sameBytes } from './read-message.ts';

type Content = Pick<Frame, 'kind'> & Partial<Pick<Frame, 'offset' | 'payload'>>;
type Subject = Pick<CallIntent, 'callId' | 'digest'>;

/**
 * One call's way to its device: the route of now, the journal the call is
 * meant for, and the frames of rule 1. Says nothing while there is no route.
 */
export class CallerLine {
  readonly #callId: Uint8Array;
  readonly #digest: Uint8Array;
  readonly #send: (frame: Frame) => void;
  #journalId: Uint8Array = NO_BYTES;
  #route: Route | undefined;
  #epoch = 0;

  constructor({ callId, digest }: Subject, send: (frame: Frame) => void) {
    this.#callId = callIdFromKey(callId);
    this.#digest = digest;
    this.#send = send;
  }

  get isUp(): boolean {
    return this.#route !== undefined;
  }

  /** Of the newest route so far; what older ones still deliver is not heard. */
  get epoch(): number {
    return this.#epoch;
  }

  /** False for a route that is known, or older than one known. */
  take(route: Route): boolean {
    const isKnown = this.#route?.epoch === route.epoch && this.#route.device === route.device;
    if (isKnown || route.epoch < this.#epoch) return false;
    this.#route = route;
    this.#epoch = route.epoch;
    return true;
  }

  drop(): void {
    this.#route = undefined;
  }

  /** From now on the call is for that journal and no other. */
  bind(journalId: Uint8Array): void {
    this.#journalId = journalId;
  }

  isBoundTo(journalId: Uint8Array): boolean {
    return sameBytes(this.#journalId, journalId);
  }

  get isBound(): boolean {
    return this.#journalId !== NO_BYTES;
  }

  call(request: CallRequest, credit: number): void {
    const { server, method, params, argumentSalt, bundleDigest, traceparent, principal } = request;
    const message = create(CallSchema, {
      digest: this.#digest,
      journalId: this.#journalId,
      deadlineUnixMs: BigInt(Math.floor(request.deadlineMs)),
      server,
      method,
      params,
      argumentSalt,
      credit: BigInt(credit),
      bundleDigest,
      principal: { ...principal, roles: [...principal.roles] },
      traceparent,
      maxBytes: BigInt(request.maxBytes),
      features: [PROGRESS_FEATURE],
    });
    this.#say({ kind: FrameKind.CALL, payload: toBinary(CallSchema, message) });
  }

  resume(offset: number, credit: number): void {
    const journalId = this.#journalId;
    const message = create(ResumeSchema, {
      digest: this.#digest,
      journalId,
      credit: BigInt(credit),
      features: [PROGRESS_FEATURE],
    });
    this.#say({ kind: FrameKind.RESUME, offset, payload: toBinary(ResumeSchema, message) });
  }

  credit(offset: number): void {
    this.#say({ kind: FrameKind.CREDIT, offset });
  }

  cancel(): void {
    this.#say({ kind: FrameKind.CANCEL });
  }

  ack(): void {
    this.#say({ kind: FrameKind.ACK });
  }

  #say({ kind, offset = 0, payload = NO_PAYLOAD }: Content): void {
    if (this.#route === undefined) return;
    const { device, epoch } = this.#route;
    this.#send({ kind, flags: 0, device, callId: this.#callId, offset, epoch, payload });
  }
}
