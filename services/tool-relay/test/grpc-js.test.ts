import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, credentials, type Metadata, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { relayWorld } from './relay-world.ts';

// A gRPC implementation that shares no code with ours, over .proto files alone.

const includeDirs = ['proto', 'node_modules/@grpc/reflection/build/proto/grpc'].map((folder) =>
  fileURLToPath(new URL(`../../../${folder}`, import.meta.url)),
);

async function grpcClient(t: TestContext) {
  const { authority, relay, metrics } = await relayWorld(t);
  const { cert, key } = await authority.client('model-host');
  const [ca, keyPem, certPem] = [authority.ca, key, cert].map((pem) => Buffer.from(pem));
  const tls = credentials.createSsl(ca, keyPem, certPem);
  const client = new Client(new URL(relay.rpcUrl).host, tls);
  t.after(() => client.close());
  return { client, metrics };
}

test('reflection describes the relay to an independent client', async (t) => {
  const { client } = await grpcClient(t);
  for (const version of ['v1', 'v1alpha']) {
    const packages = loadSync(`reflection/${version}/reflection.proto`, {
      includeDirs,
      oneofs: true,
      enums: String,
    });
    const service = packages[`grpc.reflection.${version}.ServerReflection`];
    const { path, requestSerialize, responseDeserialize } = (
      service as unknown as Record<string, MethodDefinition<object, object>>
    ).ServerReflectionInfo!;
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.write({ listServices: '' });
    call.write({ fileContainingSymbol: 'zerolatency.relay.v1.RelayService.Locate' });
    call.end();
    const answers: Record<string, unknown>[] = [];
    for await (const answer of call) answers.push(answer as never);
    assert.match(JSON.stringify(answers[0]), /zerolatency\.relay\.v1\.RelayService/);
    assert.equal(answers[1]?.messageResponse, 'fileDescriptorResponse');
  }
});

test('an independent gRPC client receives UNIMPLEMENTED for an unknown method, and it is counted', async (t) => {
  const { client, metrics } = await grpcClient(t);
  const call = promisify((path: string, done: (error: Error | null) => void) =>
    client.makeUnaryRequest(
      path,
      () => Buffer.alloc(0),
      (bytes: Buffer) => bytes,
      {},
      done,
    ),
  );
  for (const path of ['/zerolatency.relay.v1.RelayService/Enrol', '/no.such.Service/Call']) {
    await assert.rejects(call(path), (error: Error & { code: number; metadata: Metadata }) => {
      assert.equal(error.code, status.UNIMPLEMENTED);
      assert.match(
        String(error.metadata.get('grpc-status-details-bin')[0]),
        /request\.unimplemented/,
      );
      return true;
    });
  }
  assert.match(await metrics(), /method="other",error_id="request.unimplemented".*\} 2/);
});
