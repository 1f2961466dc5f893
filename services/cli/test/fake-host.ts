import { PassThrough } from 'node:stream';
import type { TestContext } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import {
  AgentService,
  type CallToolRequest,
  type ChatEventSchema,
  type StartTurn,
  StartTurnSchema,
  type StreamChatRequest,
} from '@zerolatency/proto/agent';
import { type FakeServer, serveFake } from './fake-server.ts';
import type { Installed } from './installed.ts';

export type Event = NonNullable<MessageInitShape<typeof ChatEventSchema>['event']>;

/** The events of a turn; may throw. */
export type Script = (turn: FakeTurn) => AsyncIterable<Event> | Iterable<Event>;

export interface FakeTurn {
  readonly start: StartTurn;
  /** Of a turn that is resumed, the last event that the client has; 0 otherwise. */
  readonly after: number;
  /** Counts the streams from 1. */
  readonly stream: number;
  /** Resolves when the client cancels. */
  readonly cancelled: Promise<void>;
}

export interface FakeHost extends FakeServer {
  readonly starts: readonly { readonly stream: number; readonly start: StartTurn }[];
  readonly calls: readonly CallToolRequest[];
  readonly tokens: readonly string[];
}

export const say = (text: string): Event => ({ case: 'assistantDelta', value: { text } });
export const DONE: Event = {
  case: 'assistantDone',
  value: { steps: 1, timeToFirstToken: { nanos: 1_500_000 }, total: { nanos: 20_000_000 } },
};
export const CANCELLED: Event = {
  case: 'error',
  value: { id: 'turn.cancelled', message: 'the client cancelled the turn', help: 'nothing' },
};

/** A scripted host at the address where the installation's `zl` expects one. */
export async function serveHost(
  t: TestContext,
  made: Installed,
  script: Script,
  port = 0,
): Promise<FakeHost> {
  const starts: { stream: number; start: StartTurn }[] = [];
  const calls: CallToolRequest[] = [];
  const tokens: string[] = [];
  async function* streamChat(requests: AsyncIterable<StreamChatRequest>, context: HandlerContext) {
    tokens.push(context.requestHeader.get('authorization') ?? '');
    const stream = tokens.length;
    const inbox = openInbox(requests);
    for await (const { start, after } of inbox.turns) {
      if (after === 0) starts.push({ stream, start });
      let sequence = BigInt(after);
      const cancelled = inbox.nextCancel();
      for await (const event of script({ start, after, stream, cancelled })) {
        sequence += 1n;
        yield { event: { sequence, sessionId: start.sessionId || 's-1', turnId: 't-1', event } };
      }
    }
  }
  async function* callTool(request: CallToolRequest) {
    calls.push(request);
    let sequence = 0n;
    const start = create(StartTurnSchema);
    for await (const event of script({
      start,
      after: 0,
      stream: 0,
      cancelled: new Promise(() => {}),
    })) {
      sequence += 1n;
      yield { event: { sequence, sessionId: 's-1', turnId: 't-1', event } };
    }
  }
  const server = await serveFake(t, made.layout, {
    name: 'model-host',
    port,
    routes: (router) => router.service(AgentService, { streamChat, callTool }),
  });
  await made.point({ host: { url: server.url } });
  return { ...server, starts, calls, tokens };
}

/** Turns are queued, and a cancel is not. */
function openInbox(requests: AsyncIterable<StreamChatRequest>) {
  const turns = new PassThrough({ objectMode: true });
  let onCancel = () => {};
  const read = async () => {
    for await (const { action } of requests) {
      if (action.case === 'start') turns.write({ start: action.value, after: 0 });
      else if (action.case === 'resume') {
        turns.write({ start: create(StartTurnSchema), after: Number(action.value.afterSequence) });
      } else onCancel();
    }
  };
  // A broken stream ends the requests too.
  void read().then(
    () => turns.end(),
    () => turns.end(),
  );
  const nextCancel = () =>
    new Promise<void>((resolve) => {
      onCancel = resolve;
    });
  return { turns: turns as AsyncIterable<Pick<FakeTurn, 'start' | 'after'>>, nextCancel };
}
