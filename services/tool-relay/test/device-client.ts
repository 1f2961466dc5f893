import { randomBytes } from 'node:crypto';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import {
  type Challenge,
  ChallengeSchema,
  HelloSchema,
  type Welcome,
  WelcomeSchema,
} from '@zerolatency/proto/bridge';
import { frameBytes, type TestDevice } from '@zerolatency/testing';
import type { WebSocket } from 'ws';
import { FrameSocket } from './frame-socket.ts';
import type { StreamClient } from './stream-client.ts';

export type HelloFields = Omit<MessageInitShape<typeof HelloSchema>, '$typeName'>;

/** A minimal bridge. */
export class DeviceClient<N extends WebSocket | StreamClient = WebSocket> extends FrameSocket<N> {
  readonly journalId = randomBytes(16);
  epoch = 0;

  async challenge(): Promise<Challenge> {
    return fromBinary(ChallengeSchema, (await this.take(FrameKind.CHALLENGE)).payload);
  }

  sendHello(fields: HelloFields): void {
    const hello = { journalId: this.journalId, bridgeVersion: '0.1.0', catalog: {}, ...fields };
    const payload = toBinary(HelloSchema, create(HelloSchema, hello));
    this.sendBytes(frameBytes({ kind: FrameKind.HELLO, payload }));
  }

  async prove(device: TestDevice, fields: HelloFields = {}): Promise<void> {
    const { nonce, relayId } = await this.challenge();
    const proof = await device.proof({ nonce, relayId });
    this.sendHello({ credential: device.credential, proof, ...fields });
  }

  async welcome(): Promise<Welcome> {
    const welcome = fromBinary(WelcomeSchema, (await this.take(FrameKind.WELCOME)).payload);
    this.epoch = Number(welcome.epoch);
    return welcome;
  }

  /** Answers every CALL with an OUTCOME of the same payload. */
  echo(): void {
    this.onFrame = ({ kind, callId, payload, epoch }) => {
      if (kind === FrameKind.CALL) this.send({ kind: FrameKind.OUTCOME, callId, payload, epoch });
    };
  }
}
