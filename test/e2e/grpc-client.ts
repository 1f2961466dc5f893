import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';

// A gRPC implementation that shares no code with ours, over .proto files alone.

type Method = MethodDefinition<object, object>;

export interface TlsPair {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface GrpcClient {
  /** Every answer to these requests. */
  ask<A>(method: Method, requests: readonly object[], token?: string): Promise<A[]>;
  close(): void;
}

const includeDirs = ['proto', 'node_modules/@grpc/reflection/build/proto/grpc'].map((folder) =>
  fileURLToPath(new URL(`../../${folder}`, import.meta.url)),
);

export const streamChat = methodOf(
  'zerolatency/agent/v1/agent.proto',
  'zerolatency.agent.v1.AgentService',
  'StreamChat',
);

export function reflectionInfo(version: 'v1' | 'v1alpha'): Method {
  return methodOf(
    `reflection/${version}/reflection.proto`,
    `grpc.reflection.${version}.ServerReflection`,
    'ServerReflectionInfo',
  );
}

export function healthCheck(): Method {
  const { Check } = healthService;
  if (Check === undefined) throw new Error('grpc-health-check has no Check');
  return Check as Method;
}

export function grpcClient(url: string, { ca, cert, key }: TlsPair): GrpcClient {
  const [roots, keyPem, certPem] = [ca, key, cert].map((pem) => pem && Buffer.from(pem));
  const tls = credentials.createSsl(roots || null, keyPem || null, certPem || null);
  const client = new Client(new URL(url).host, tls);
  return {
    async ask<A>(method: Method, requests: readonly object[], token?: string): Promise<A[]> {
      const metadata = new Metadata();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      const { path, requestSerialize, responseDeserialize } = method;
      const call = client.makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
      );
      for (const request of requests) call.write(request);
      call.end();
      const answers: A[] = [];
      for await (const answer of call) answers.push(answer);
      return answers;
    },
    close: () => client.close(),
  };
}

function methodOf(file: string, service: string, name: string): Method {
  const packages = loadSync(file, {
    includeDirs,
    oneofs: true,
    longs: String,
    enums: String,
  });
  const found = packages[service];
  if (found === undefined || 'format' in found) throw new Error(`${file} has no ${service}`);
  const method = (found as Record<string, Method>)[name];
  if (method === undefined) throw new Error(`${service} has no ${name}`);
  return method;
}
