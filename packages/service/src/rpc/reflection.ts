import {
  createRegistry,
  type DescFile,
  type DescService,
  type Registry,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import type { UniversalHandlerOptions } from '@connectrpc/connect/protocol';
import { ServerReflection, type ServerReflectionRequest } from '@zerolatency/proto/reflection';
import {
  type ServerReflectionRequest as ServerReflectionRequestV1Alpha,
  ServerReflection as ServerReflectionV1Alpha,
} from '@zerolatency/proto/reflection-v1alpha';
import { readingError, toConnectError } from './connect-error.ts';

type Question = (ServerReflectionRequest | ServerReflectionRequestV1Alpha)['messageRequest'];

/** Serves grpc.reflection.v1, and v1alpha for the many clients that ask for it first. */
export function addReflection(
  router: ConnectRouter,
  described: readonly DescService[],
  options: Partial<UniversalHandlerOptions>,
): void {
  const services = [...described, ServerReflection, ServerReflectionV1Alpha];
  const index = new DescriptorIndex(services.map((service) => service.file));
  const names = services.map((service) => ({ name: service.typeName }));
  const answer = (question: Question) => answerTo(question, index, names);
  router.service(
    ServerReflection,
    {
      serverReflectionInfo: async function* (requests) {
        for await (const request of detailed(requests))
          yield respond(request, answer(request.messageRequest));
      },
    },
    options,
  );
  router.service(
    ServerReflectionV1Alpha,
    {
      serverReflectionInfo: async function* (requests) {
        for await (const request of detailed(requests))
          yield respond(request, answer(request.messageRequest));
      },
    },
    options,
  );
}

/** Gives our detail to a request that cannot be read. */
async function* detailed<R>(requests: AsyncIterable<R>): AsyncGenerator<R> {
  try {
    yield* requests;
  } catch (reason) {
    throw toConnectError(readingError(reason));
  }
}

function respond<R extends { readonly host: string }, A>(request: R, messageResponse: A) {
  return { validHost: request.host, originalRequest: request, messageResponse };
}

function answerTo(question: Question, index: DescriptorIndex, names: { name: string }[]) {
  switch (question.case) {
    case 'listServices':
      return { case: 'listServicesResponse' as const, value: { service: names } };
    case 'fileByFilename':
      return files(index.byFilename(question.value), question.value);
    case 'fileContainingSymbol':
      return files(index.bySymbol(question.value), question.value);
    case 'allExtensionNumbersOfType':
      // We define no extensions, so a known type has none.
      return index.hasMessage(question.value)
        ? {
            case: 'allExtensionNumbersResponse' as const,
            value: { baseTypeName: question.value, extensionNumber: [] },
          }
        : failed(Code.NotFound, question.value);
    case 'fileContainingExtension':
      return failed(Code.NotFound, question.value.containingType);
    default:
      return failed(Code.InvalidArgument, 'message_request is not set');
  }
}

function files(fileDescriptorProto: Uint8Array[] | undefined, asked: string) {
  if (fileDescriptorProto === undefined) return failed(Code.NotFound, asked);
  return { case: 'fileDescriptorResponse' as const, value: { fileDescriptorProto } };
}

function failed(errorCode: Code, asked: string) {
  const errorMessage = errorCode === Code.NotFound ? `not found: ${asked.slice(0, 200)}` : asked;
  return { case: 'errorResponse' as const, value: { errorCode, errorMessage } };
}

/** The encoded file descriptors of the services, by file name and by symbol. */
class DescriptorIndex {
  readonly #types: Registry;
  readonly #byName = new Map<string, DescFile>();

  constructor(files: readonly DescFile[]) {
    const withImports = files.flatMap(closureOf);
    this.#types = createRegistry(...withImports);
    // DescFile.name has no .proto suffix; the name in the descriptor has.
    for (const file of withImports) this.#byName.set(file.proto.name, file);
  }

  byFilename(name: string): Uint8Array[] | undefined {
    return encodeClosure(this.#byName.get(name));
  }

  /** A message, enum, service or extension, or a member of one. */
  bySymbol(symbol: string): Uint8Array[] | undefined {
    const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf('.')));
    return encodeClosure((this.#types.get(symbol) ?? this.#types.get(parent))?.file);
  }

  hasMessage(typeName: string): boolean {
    return this.#types.getMessage(typeName) !== undefined;
  }
}

function encodeClosure(file: DescFile | undefined): Uint8Array[] | undefined {
  if (file === undefined) return undefined;
  return closureOf(file).map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
}

/** The file, then everything it imports. */
function closureOf(file: DescFile): DescFile[] {
  return [...new Set([file, ...file.dependencies.flatMap(closureOf)])];
}
