import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { TestContext } from 'node:test';
import {
  type AiSdkProvider,
  type AiSdkProviderOptions,
  openAiSdkProvider,
} from '../../src/adapters/ai-sdk/ai-sdk-provider.ts';
import type { VendorType } from '../../src/adapters/ai-sdk/vendors.ts';
import type { ModelMessage, ModelPart, ModelRequest } from '../../src/providers/port.ts';
import { user } from '../support/replies.ts';

export const VENDOR_TYPES: readonly VendorType[] = [
  'anthropic',
  'openai',
  'openai-chat',
  'google',
  'openai-compatible',
];

/** Told from every other text in what leaves the host. */
export const PLANTED_KEY = 'sk-planted-4f9c1e7ab2d86350';

export interface AskedOfVendor {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

export interface VendorServer {
  readonly url: string;
  readonly asked: AskedOfVendor[];
  /** Connections accepted so far. */
  readonly connections: () => number;
  readonly closeConnections: () => void;
  answer: Answer;
}

/** A vendor on loopback that answers as the test has it. */
export async function vendorServer(t: TestContext, answer: Answer): Promise<VendorServer> {
  let connections = 0;
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const { method = '', url: path = '', headers } = request;
    vendor.asked.push({ method, path, headers, body: Buffer.concat(pieces).toString() });
    vendor.answer(response, request);
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const vendor: VendorServer = {
    url: `http://127.0.0.1:${port}/v1`,
    asked: [],
    connections: () => connections,
    closeConnections: () => server.closeAllConnections(),
    answer,
  };
  return vendor;
}

/** A reply in the events that the vendor documents: reasoning, text, two calls at once, and counts. */
export function eventsOf(type: VendorType): Buffer {
  return readFileSync(new URL(`${type}.sse`, import.meta.url));
}

const ANSWERS: Readonly<Record<VendorType, readonly object[]>> = {
  anthropic: [
    {
      type: 'message_start',
      message: {
        ...{ id: 'msg_02', type: 'message', role: 'assistant', model: 'm', content: [] },
        ...{ stop_reason: null, usage: { input_tokens: 10, output_tokens: 1 } },
      },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Done.' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } },
    { type: 'message_stop' },
  ],
  openai: [
    { type: 'response.created', response: { id: 'resp_02', created_at: 0, model: 'm' } },
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: { id: 'msg_02', type: 'message', role: 'assistant', content: [] },
    },
    {
      ...{ type: 'response.output_text.delta', item_id: 'msg_02', output_index: 0 },
      ...{ content_index: 0, delta: 'Done.' },
    },
    {
      type: 'response.output_item.done',
      output_index: 0,
      item: { id: 'msg_02', type: 'message', role: 'assistant', content: [] },
    },
    {
      type: 'response.completed',
      response: { usage: { input_tokens: 10, output_tokens: 2 } },
    },
  ],
  'openai-chat': [chunk({ content: 'Done.' }), chunk({}, 'stop')],
  google: [
    {
      candidates: [
        { content: { role: 'model', parts: [{ text: 'Done.' }] }, finishReason: 'STOP' },
      ],
      usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 2, totalTokenCount: 12 },
    },
  ],
  'openai-compatible': [chunk({ content: 'Done.' }), chunk({}, 'stop')],
};

function chunk(delta: object, finish_reason: string | null = null): object {
  return { id: 'c', created: 0, model: 'm', choices: [{ index: 0, delta, finish_reason }] };
}

/** A reply of openai-compatible in these pieces. */
export function eventsSaying(...texts: readonly string[]): string {
  const events = [...texts.map((content) => chunk({ content })), chunk({}, 'stop')];
  return events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
}

/** The shortest reply, which says "Done." */
export function answerOf(type: VendorType): string {
  return ANSWERS[type].map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
}

export function sendsEvents(events: Buffer | string): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events);
  };
}

export function sendsError(status: number, headers: Record<string, string> = {}): Answer {
  const error = { type: 'some_error', message: `no, ${PLANTED_KEY} is not right`, code: status };
  return (response) => {
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(JSON.stringify({ type: 'error', error }));
  };
}

export const BOUNDS: AiSdkProviderOptions['bounds'] = {
  connections: 50,
  firstByteMs: 60_000,
  idleMs: 60_000,
  totalMs: 120_000,
  maxReplyBytes: 1024 * 1024,
};

export async function providerOf(
  t: TestContext,
  type: VendorType,
  { url: baseUrl }: Pick<VendorServer, 'url'>,
  options: Partial<AiSdkProviderOptions> = {},
): Promise<AiSdkProvider> {
  const readKey = async () => PLANTED_KEY;
  const provider = await openAiSdkProvider({
    ...{ name: type, type, baseUrl, readKey, bounds: BOUNDS },
    ...options,
  });
  t.after(() => provider.close());
  return provider;
}

export const MODELS: Readonly<Record<VendorType, string>> = {
  anthropic: 'claude-sonnet-4-5',
  openai: 'gpt-5',
  'openai-chat': 'gpt-4.1',
  google: 'gemini-2.5-pro',
  'openai-compatible': 'qwen3:8b',
};

export function requestTo(
  type: VendorType,
  messages: readonly ModelMessage[] = [user('Read a.txt and b.txt.')],
): ModelRequest {
  const inputSchema = {
    type: 'object',
    properties: { path: { type: 'string' } },
    required: ['path'],
    additionalProperties: false,
  };
  return {
    tenant: 'north',
    model: MODELS[type],
    system: 'You are a helpful assistant.',
    messages,
    tools: [
      { name: 'fs.list', description: 'Lists a folder.', inputSchema },
      { name: 'fs.read', description: 'Reads a file.', inputSchema },
    ],
    maxOutputTokens: 1000,
  };
}

export async function partsOf(
  provider: AiSdkProvider,
  request: ModelRequest,
  signal = new AbortController().signal,
): Promise<ModelPart[]> {
  const parts: ModelPart[] = [];
  for await (const part of provider.stream(request, signal)) parts.push(part);
  return parts;
}
