import type { ConnectError } from '@connectrpc/connect';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  endStreamFlag,
  errorToJsonBytes,
} from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import type { ConnectNodeAdapterOptions } from '@connectrpc/connect-node';
import type { ZlError } from '@zerolatency/errors';
import { toConnectError } from './connect-error.ts';

type Fallback = NonNullable<ConnectNodeAdapterOptions['fallback']>;
type Protocol = 'grpc' | 'connect stream' | 'connect unary';

interface Answer {
  readonly status: number;
  /** Undefined repeats that of the request. */
  readonly contentType: string | undefined;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | undefined;
}

const CONNECT_CONTENT_TYPE = /^application\/(json|proto|connect\+)/;
const endStream = createEndStreamSerialization(undefined);

const encode: Record<Protocol, (error: ConnectError) => Answer> = {
  // A gRPC response of trailers only; its HTTP status is 200.
  grpc: (error) => {
    const fields = [...setTrailerStatus(new Headers(), error)];
    return { status: 200, contentType: undefined, fields, body: undefined };
  },
  // The end of the stream holds the metadata.
  'connect stream': (error) => {
    const data = endStream.serialize({ metadata: new Headers(), error });
    const body = encodeEnvelope(endStreamFlag, data);
    return { status: 200, contentType: undefined, fields: [], body };
  },
  'connect unary': (error) => ({
    status: codeToHttpStatus(error.code),
    contentType: 'application/json',
    fields: [...error.metadata],
    body: errorToJsonBytes(error, undefined),
  }),
};

/** A limit throws the same error each time, and encoding it costs more than the rest of its answer. */
const answers = new WeakMap<ZlError, Map<Protocol, Answer>>();

/** Answers in the protocol of the request, before Connect has seen it. */
export function answerError(
  request: Pick<Parameters<Fallback>[0], 'headers'>,
  response: Pick<Parameters<Fallback>[1], 'end' | 'setHeader' | 'statusCode'>,
  error: ZlError,
): void {
  const { 'content-type': given = '' } = request.headers;
  const { status, contentType = given, fields, body } = answerTo(protocolOf(given), error);
  response.statusCode = status;
  response.setHeader('content-type', contentType);
  for (const [name, value] of fields) response.setHeader(name, value);
  if (body === undefined) response.end();
  else response.end(body);
}

function answerTo(protocol: Protocol, error: ZlError): Answer {
  const known = answers.get(error) ?? new Map<Protocol, Answer>();
  const answer = known.get(protocol) ?? encode[protocol](toConnectError(error));
  answers.set(error, known.set(protocol, answer));
  return answer;
}

function protocolOf(contentType: string): Protocol {
  if (isGrpc(contentType)) return 'grpc';
  return contentType.startsWith('application/connect+') ? 'connect stream' : 'connect unary';
}

export function isRpc({ headers }: Pick<Parameters<Fallback>[0], 'headers'>): boolean {
  const { 'content-type': contentType = '' } = headers;
  return isGrpc(contentType) || CONNECT_CONTENT_TYPE.test(contentType);
}

export function isGrpc(contentType: string): boolean {
  return contentType.startsWith('application/grpc');
}
