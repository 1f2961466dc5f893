import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type HandlerContext,
  type Interceptor,
  type MethodImpl,
} from '@connectrpc/connect';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { type NameKind, parseName } from '@zerolatency/identity';
import {
  type AgentService,
  type CallToolRequest,
  type ChatRequest,
  type Message,
  OnDisconnect,
  OnInterruption,
  type Resume,
  type ResumeTurnRequest,
  Role,
  type StartTurn,
  type StreamChatRequest,
  type TurnLimits,
} from '@zerolatency/proto/agent';
import { maskText, type OnMasked } from '@zerolatency/redaction';
import {
  durationMicros,
  fromConnectError,
  readingError,
  responseStreamOf,
  toConnectError,
} from '@zerolatency/service/rpc';
import {
  type ChatObserver,
  ChatSession,
  MAX_HISTORY_BYTES,
  MAX_HISTORY_MESSAGES,
  type ResumePoint,
  type SendEvent,
  type TurnStart,
} from '../chat/session.ts';
import { type TurnLogs, turnNotFound } from '../chat/turn-logs.ts';
import type { ModelMessage } from '../providers/port.ts';
import { nanoUsdOf } from '../turn/budget.ts';
import { readArguments } from '../turn/tool-step.ts';
import type { Turns } from '../turn/turns.ts';
import { identityOf, type RefusalCounter } from './identity-gate.ts';

// Many pages of text; more belongs in a file that a tool reads.
export const MAX_TEXT_BYTES = 256 * 1024;

export interface EndedRpc {
  readonly method: string;
  readonly error: ZlError | undefined;
  readonly seconds: number;
}

interface RefusalObserver {
  /** Turned away before its handler began. */
  refused(rpc: { readonly method: string; readonly error: ZlError }): void;
}

/** Each RPC that opened ends. */
export interface RpcObserver extends ChatObserver, RefusalObserver {
  /** A secret that a person wrote. */
  readonly masked: OnMasked;
  opened(): void;
  ended(rpc: EndedRpc): void;
}

export interface ChatDeps {
  readonly turns: Turns;
  readonly logs: TurnLogs;
  readonly refusals: RefusalCounter;
  readonly observer: RpcObserver;
}

/** What a client asks for in the course of an RPC. */
type Action =
  | StreamChatRequest['action']
  | { readonly case: 'call'; readonly value: CallToolRequest };

export function streamChat(deps: ChatDeps): MethodImpl<typeof AgentService.method.streamChat> {
  return (requests, context) =>
    serveChat(deps, context, { actions: actionsOf(requests), endsAsTurn: false });
}

async function* actionsOf(requests: AsyncIterable<StreamChatRequest>): AsyncGenerator<Action> {
  for await (const { action } of requests) yield action;
}

/** A stream of one turn, for clients that can only listen. */
export function chat(deps: ChatDeps): MethodImpl<typeof AgentService.method.chat> {
  return (request, context) =>
    serveChat(deps, context, { actions: only(startOf(request)), endsAsTurn: true });
}

/** A call without a model, for people and programs that know which tool they want. */
export function callTool(deps: ChatDeps): MethodImpl<typeof AgentService.method.callTool> {
  return (value, context) =>
    serveChat(deps, context, { actions: only(() => ({ case: 'call', value })), endsAsTurn: true });
}

/** A turn of another stream, for clients that can only listen. */
export function resumeTurn(deps: ChatDeps): MethodImpl<typeof AgentService.method.resumeTurn> {
  return (request, context) =>
    serveChat(deps, context, { actions: only(resumeOf(request)), endsAsTurn: true });
}

function resumeOf({ resume }: ResumeTurnRequest): () => Action {
  return () => {
    if (resume !== undefined) return { case: 'resume', value: resume };
    throw new ZlError('request.invalid', 'resume is missing', { field: 'resume' });
  };
}

/** For clients that can only listen to their turn, or have lost its stream. */
export function cancelTurn(deps: ChatDeps): MethodImpl<typeof AgentService.method.cancelTurn> {
  return async ({ turnId }, context) => {
    const startedMs = performance.now();
    const { identity } = identityOf(context);
    const error = new ZlError('turn.cancelled', 'the client cancelled the turn');
    // The interceptor counts what fails here.
    await deps.logs.cancel(readTurnId(turnId, 'turn_id'), identity, error);
    deps.observer.opened();
    const seconds = (performance.now() - startedMs) / 1000;
    deps.observer.ended({ method: methodOf(context), error: undefined, seconds });
    return {};
  };
}

async function* only(action: () => Action): AsyncGenerator<Action> {
  yield action();
}

function startOf({ start }: ChatRequest): () => Action {
  return () => {
    if (start !== undefined) return { case: 'start', value: start };
    throw new ZlError('request.invalid', 'start is missing', { field: 'start' });
  };
}

interface ServedChat {
  readonly actions: AsyncIterable<Action>;
  /** The status of the RPC is that of its turn. */
  readonly endsAsTurn: boolean;
}

/** Its events go past Connect, which learns of the end. */
function serveChat(
  deps: ChatDeps,
  context: HandlerContext,
  served: ServedChat,
): AsyncIterable<never> {
  const next = async () => {
    await runChat(deps, context, served);
    return { done: true as const, value: undefined };
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

async function runChat(
  deps: ChatDeps,
  context: HandlerContext,
  { actions, endsAsTurn }: ServedChat,
): Promise<void> {
  const startedMs = performance.now();
  let error: ZlError | undefined;
  deps.observer.opened();
  try {
    const proven = identityOf(context);
    const session = new ChatSession({
      ...{ turns: deps.turns, logs: deps.logs, ...proven },
      traceparent: context.requestHeader.get('traceparent') ?? '',
      signal: endOfStream(context.signal),
      observer: deps.observer,
    });
    void readActions(session, actions, deps.observer.masked);
    await session.deliver(sendTo(context));
    if (endsAsTurn && session.turnFailure !== undefined) throw session.turnFailure;
  } catch (reason) {
    error = fromConnectError(reason, { aborted: 'turn.cancelled' });
    if (error.id === 'limit.exceeded') {
      deps.refusals.count(context.requestHeader.get('authorization') ?? '');
    }
    throw toConnectError(error);
  } finally {
    const seconds = (performance.now() - startedMs) / 1000;
    deps.observer.ended({ method: methodOf(context), error, seconds });
  }
}

/** The messages of all these methods hold one event. */
function sendTo(context: HandlerContext): SendEvent {
  const stream = responseStreamOf(context);
  const { output } = context.method;
  return (event) => {
    const message = create(output, { event });
    return stream.send(
      stream.isBinary ? toBinary(output, message) : Buffer.from(toJsonString(output, message)),
    );
  };
}

/** The signal of the RPC, which Connect also aborts at the client's deadline. */
function endOfStream(signal: AbortSignal): AbortSignal {
  const end = new AbortController();
  const onAbort = () => {
    const { reason } = signal;
    const isLate = reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
    end.abort(isLate ? new ZlError('budget.time', 'the deadline of the request has passed') : null);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return end.signal;
}

/** Gives our detail to the errors that Connect finds in a request before its handler sees it. */
export function detailed(observer: RefusalObserver): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (reason) {
      const error = readingError(reason, { aborted: 'turn.cancelled' });
      observer.refused({ method: methodOf(request), error });
      throw toConnectError(error);
    }
  };
}

/** Service and method, as gRPC writes them in its paths. */
function methodOf({ service, method }: Pick<HandlerContext, 'service' | 'method'>): string {
  return `${service.typeName}/${method.name}`;
}

async function readActions(
  session: ChatSession,
  actions: AsyncIterable<Action>,
  onMasked: OnMasked,
): Promise<void> {
  try {
    for await (const action of actions) {
      if (action.case === 'start') {
        const { value } = action;
        await session.start(() => readStartTurn(value, onMasked));
      } else if (action.case === 'call') {
        const { value } = action;
        await session.start(() => readCall(value), 'call');
      } else if (action.case === 'resume') await session.resume(readResume(action.value));
      else if (action.case === 'cancel') session.cancel(action.value.turnId);
      else throw new ZlError('request.invalid', 'action is neither start, resume nor cancel');
    }
    await session.finish();
  } catch (reason) {
    const error = readingError(reason, { aborted: 'turn.cancelled' });
    await session.fail(error, { isLost: LOST_IDS.has(error.id) });
  }
}

/** A connection that broke, as opposed to a client that sent something wrong. */
const LOST_IDS: ReadonlySet<ErrorId> = new Set([
  'internal',
  'peer.lost',
  'peer.timeout',
  'peer.unavailable',
  'turn.cancelled',
]);

/** The longest names of a server and its tool, and the dot between them. */
const MAX_TOOL_CHARS = 193;

const MODEL_PATTERN = /^\w[\w.:@-]{0,127}$/;

const TURN_ID_PATTERN = /^[0-9a-f]{32}$/;

const MAX_SEQUENCE = BigInt(Number.MAX_SAFE_INTEGER - 1);

/** @throws ZlError request.invalid or request.too_large that names the field. */
function readStartTurn(start: StartTurn, onMasked: OnMasked): TurnStart {
  if (start.text.trim() === '') throw invalid('start.text', 'is empty');
  return {
    text: boundedText(start.text, 'start.text', onMasked),
    sessionId: readName('session', start.sessionId, 'start.session_id'),
    deviceId: readName('device', start.deviceId, 'start.device_id'),
    model: readModel(start.model),
    history: readHistory(start.history, onMasked),
    limits: readLimits(start.limits),
    deviceOptional: start.deviceOptional,
    survivesDisconnect: readOnDisconnect(start.onDisconnect, 'start.on_disconnect'),
    mayReplaceText: start.onInterruption === OnInterruption.REPLACE,
  };
}

/** @throws ZlError request.invalid that names the field. */
function readCall(asked: CallToolRequest): TurnStart {
  const { tool, argumentsJson, timeout } = asked;
  if (tool === '' || tool.length > MAX_TOOL_CHARS) {
    throw invalid('tool', `is not a name of up to ${MAX_TOOL_CHARS} characters, such as fs.read`);
  }
  const args = readArguments(argumentsJson || '{}');
  if (args.error !== undefined) throw invalid('arguments_json', args.error.message);
  const timeoutMs = Math.ceil(durationMicros(timeout) / 1000);
  if (timeoutMs < 0) throw invalid('timeout', 'is negative');
  return {
    call: {
      request: { type: 'tool-call', toolCallId: '', toolName: tool, input: argumentsJson },
      args,
    },
    text: '',
    sessionId: readName('session', asked.sessionId, 'session_id'),
    deviceId: readName('device', asked.deviceId, 'device_id'),
    model: '',
    history: [],
    limits: { timeoutMs },
    survivesDisconnect: readOnDisconnect(asked.onDisconnect, 'on_disconnect'),
  };
}

/** @throws turn.not_found; request.invalid that names the field. */
function readResume({ turnId, afterSequence }: Resume): ResumePoint {
  if (afterSequence > MAX_SEQUENCE) {
    throw invalid('resume.after_sequence', 'is larger than any sequence');
  }
  return { turnId: readTurnId(turnId, 'resume.turn_id'), afterSequence: Number(afterSequence) };
}

/** @throws request.invalid for none, turn.not_found for what can be none. */
function readTurnId(turnId: string, field: string): string {
  if (turnId === '') throw invalid(field, 'is missing');
  if (!TURN_ID_PATTERN.test(turnId)) throw turnNotFound();
  return turnId;
}

function readLimits(limits: TurnLimits | undefined): TurnStart['limits'] {
  if (limits === undefined) return {};
  const { maxSteps, maxToolDepth, maxInputTokens, maxOutputTokens, timeout, maxCost } = limits;
  const timeoutMs = Math.ceil(durationMicros(timeout) / 1000);
  if (timeoutMs < 0) throw invalid('start.limits.timeout', 'is negative');
  const maxCostNanoUsd = maxCost === undefined ? 0 : nanoUsdOf(maxCost);
  if (maxCostNanoUsd === undefined)
    throw invalid('start.limits.max_cost', 'is not an amount of USD');
  return { maxSteps, maxToolDepth, maxInputTokens, maxOutputTokens, timeoutMs, maxCostNanoUsd };
}

function readHistory(history: readonly Message[], onMasked: OnMasked): ModelMessage[] {
  if (history.length > MAX_HISTORY_MESSAGES) {
    throw tooLarge('start.history', `holds more than ${MAX_HISTORY_MESSAGES} messages`);
  }
  let bytes = 0;
  return history.map((message, index) => {
    const field = `start.history[${index}]`;
    bytes += Buffer.byteLength(message.text);
    if (bytes > MAX_HISTORY_BYTES) {
      throw tooLarge('start.history', `holds more than ${MAX_HISTORY_BYTES} bytes`);
    }
    const text = boundedText(message.text, `${field}.text`, onMasked);
    const content = [{ type: 'text' as const, text }];
    if (message.role === Role.USER) return { role: 'user', content };
    if (message.role === Role.ASSISTANT) return { role: 'assistant', content };
    throw invalid(`${field}.role`, 'is neither user nor assistant');
  });
}

function readOnDisconnect(value: OnDisconnect, field: string): boolean {
  if (value === OnDisconnect.CONTINUE) return true;
  if (value === OnDisconnect.UNSPECIFIED || value === OnDisconnect.CANCEL) return false;
  throw invalid(field, 'is not a known choice');
}

/** A person's text as the model may see it. */
function boundedText(text: string, field: string, onMasked: OnMasked): string {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw tooLarge(field, `is longer than ${MAX_TEXT_BYTES} bytes`);
  }
  return maskText(text, { onMasked }).text;
}

function readName(kind: NameKind, given: string, field: string): string {
  if (given === '') return '';
  const { value, error } = parseName(kind, given);
  if (error !== undefined) throw invalid(field, error);
  return value;
}

function readModel(model: string): string {
  if (model === '' || MODEL_PATTERN.test(model)) return model;
  const reads = 'up to 128 letters, digits, ".", ":", "@", "_" and "-"';
  throw invalid('start.model', `is not a model name: ${reads}`);
}

function invalid(field: string, reason: string): ZlError {
  return new ZlError('request.invalid', `${field} ${reason}`, { field });
}

function tooLarge(field: string, reason: string): ZlError {
  return new ZlError('request.too_large', `${field} ${reason}`, { field });
}
