import { randomBytes } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { decodeFrame, FrameKind } from '@zerolatency/frame';
import { ChallengeSchema, HelloSchema } from '@zerolatency/proto/bridge';
import { frameBytes, type TestDevice } from '@zerolatency/testing';
import { type ClientOptions, WebSocket } from 'ws';

export interface LeanDeviceOptions {
  readonly url: string;
  /** Shared: to read the authorities anew costs more than a handshake. */
  readonly secureContext: SecureContext;
  readonly localAddress: string;
}

/** A device that costs its machine little, so that thousands of them fit beside a relay. */
export class LeanDevice {
  onChallenged: () => void = () => {};
  onWelcome: () => void = () => {};
  onClose: () => void = () => {};
  readonly #native: WebSocket;
  readonly #identity: TestDevice | undefined;

  /** Without an identity it stops at the challenge. */
  constructor(options: LeanDeviceOptions, identity: TestDevice | undefined) {
    const { url, secureContext, localAddress } = options;
    const client: ClientOptions & { secureContext: SecureContext } = {
      secureContext,
      localAddress,
      perMessageDeflate: false,
      handshakeTimeout: 10_000,
    };
    this.#identity = identity;
    this.#native = new WebSocket(url, client);
    this.#native.on('error', () => {});
    this.#native.on('close', () => this.onClose());
    this.#native.on('message', (bytes) => {
      if (Buffer.isBuffer(bytes)) this.#receive(bytes);
    });
  }

  terminate(): void {
    this.#native.terminate();
  }

  #receive(bytes: Buffer): void {
    const { frame } = decodeFrame(bytes);
    if (frame?.kind === FrameKind.WELCOME) this.onWelcome();
    if (frame?.kind !== FrameKind.CHALLENGE) return;
    this.onChallenged();
    if (this.#identity !== undefined) void this.#prove(this.#identity, frame.payload);
  }

  async #prove(identity: TestDevice, payload: Uint8Array): Promise<void> {
    const { nonce, relayId } = fromBinary(ChallengeSchema, payload);
    const proof = await identity.proof({ nonce, relayId });
    const { credential } = identity;
    const journalId = randomBytes(16);
    const fields = { credential, proof, journalId, bridgeVersion: '0.1.0', catalog: {} };
    const hello = toBinary(HelloSchema, create(HelloSchema, fields));
    this.#native.send(frameBytes({ kind: FrameKind.HELLO, payload: hello }));
  }
}
