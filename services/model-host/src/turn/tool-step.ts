import { type ErrorId, fromUnknown, ZlError } from '@zerolatency/errors';
import { canonicalText } from '@zerolatency/signing';
import type { EffectTracker } from '../calls/settle.ts';
import type {
  CallOptions,
  PreparedCall,
  SettledCall,
  ToolArguments,
  Toolbox,
  ToolCallProgress,
  ToolResult,
  TurnScope,
} from '../ports.ts';
import type {
  AssistantPart,
  ModelMessage,
  ToolAnswer,
  ToolCallRequest,
} from '../providers/port.ts';
import type { Reply } from '../providers/reply.ts';
import type { TurnLog } from './turn-log.ts';

/** Nothing has happened yet, and only the tools of the device are out of reach. */
const DEVICE_AWAY: ReadonlySet<ErrorId> = new Set([
  'device.offline',
  'device.unknown',
  'directory.degraded',
  'relay.unreachable',
]);

interface OpenedToolbox {
  /** Without the device, where the turn goes on without it. */
  readonly scope: TurnScope;
  readonly toolbox: Toolbox;
  /** Why the device cannot be reached. */
  readonly away?: ZlError;
}

export async function openToolbox(
  { scope, deviceOptional }: { readonly scope: TurnScope; readonly deviceOptional?: boolean },
  open: (scope: TurnScope) => Promise<Toolbox>,
): Promise<OpenedToolbox> {
  try {
    return { scope, toolbox: await open(scope) };
  } catch (reason) {
    const isAway = reason instanceof ZlError && DEVICE_AWAY.has(reason.id);
    if (!isAway || deviceOptional !== true) throw reason;
    const without = { ...scope, deviceId: '' };
    return { scope: without, toolbox: await open(without), away: reason };
  }
}

export interface AskedCall {
  readonly request: ToolCallRequest;
  readonly args: ToolArguments;
}

export interface ToolStep {
  readonly toolbox: Toolbox;
  readonly calls: readonly AskedCall[];
  readonly step: number;
  /** Of the turn; the answers are added to them. */
  readonly messages: ModelMessage[];
  readonly events: TurnLog;
  /** The call that started the turn; empty for the turn of a person. */
  readonly parentCallId: string;
  readonly effects: EffectTracker;
  readonly startTurn: (callId: string) => NonNullable<CallOptions['startTurn']>;
  readonly maxResultBytes: number;
}

export interface ToolStepEnd {
  readonly callIds: readonly string[];
  /**
   * Resolves when every `done` was reported, each after its receipt is durable. False where a receipt
   * could not be written, so that an outcome is unknown; `messages` say so by then.
   */
  readonly answersStand: Promise<boolean>;
}

// A delta for each frame of a large result would drown the stream.
const PROGRESS_EVERY_BYTES = 64 * 1024;

/**
 * Runs the calls of one step side by side. The order of events does not depend
 * on which call is faster: every `started` in the model's order before any call
 * runs, then every `done` in the model's order, each as soon as those before it
 * were reported. Only progress falls in between as it happens.
 *
 * It returns when every call has its outcome, also when cancelled; receipts may still be written.
 */
export async function runToolStep(step: ToolStep, signal: AbortSignal): Promise<ToolStepEnd> {
  const { toolbox, events, effects, startTurn, parentCallId } = step;
  const prepared = step.calls.map(({ request, args }) => ({
    request,
    call: toolbox.prepare(request.toolName, args),
  }));
  for (const { call } of prepared) events.started(call, { step: step.step, parentCallId });
  const running = prepared.map(({ call, request }) => {
    const settled = Promise.withResolvers<SettledCall>();
    const recorded = effects.during(
      call.run({
        signal,
        onProgress: progressOf(call, events),
        onSettled: settled.resolve,
        startTurn: startTurn(call.callId),
      }),
    );
    recorded.then(settled.resolve, settled.reject);
    return { call, request, settled: settled.promise, recorded };
  });
  const reported = report(running, step, signal);
  // A call that breaks its promise rejects the first wait for it.
  reported.catch(() => {});
  const answers: ToolAnswer[] = [];
  for (const { request, settled } of running) {
    answers.push(answerTo(request, await settled, step.maxResultBytes));
  }
  const at = step.messages.push({ role: 'tool', content: answers }) - 1;
  const answersStand = reported.then((others) => {
    if (others !== undefined) step.messages[at] = { role: 'tool', content: others };
    return others === undefined;
  });
  // Awaited only after a model has been asked.
  answersStand.catch(() => {});
  return { callIds: prepared.map(({ call }) => call.callId), answersStand };
}

interface RunningCall {
  readonly call: PreparedCall;
  readonly request: ToolCallRequest;
  readonly settled: Promise<SettledCall>;
  readonly recorded: Promise<ToolResult>;
}

/** Returns the answers as they stand where an outcome has changed, and undefined otherwise. */
async function report(
  running: readonly RunningCall[],
  { events, maxResultBytes }: ToolStep,
  signal: AbortSignal,
): Promise<readonly ToolAnswer[] | undefined> {
  const answers: ToolAnswer[] = [];
  let isOther = false;
  for (const { call, request, settled, recorded } of running) {
    const result = await recorded;
    if (events.isFull) await events.room(signal);
    events.finished(call.callId, result);
    answers.push(answerTo(request, result, maxResultBytes));
    isOther ||= (await settled).outcome !== result.outcome;
  }
  return isOther ? answers : undefined;
}

function progressOf(call: PreparedCall, events: TurnLog): (progress: ToolCallProgress) => void {
  let reported = 0;
  return (progress) => {
    const { receivedBytes } = progress;
    const isFromTool = progress.message !== undefined || progress.progress !== undefined;
    // Progress is cumulative, so a slow reader loses nothing when one is skipped.
    const isSmall = receivedBytes - reported < PROGRESS_EVERY_BYTES;
    if (events.isFull || (isSmall && !isFromTool)) return;
    reported = receivedBytes;
    events.progress(call.callId, progress);
  };
}

function answerTo(
  { toolCallId, toolName }: ToolCallRequest,
  result: SettledCall,
  maxBytes: number,
): ToolAnswer {
  return { type: 'tool-result', toolCallId, toolName, output: answerOf(result, maxBytes) };
}

/** What the model reads of a result: bounded, and an error as such. */
function answerOf(result: SettledCall, maxBytes: number): ToolAnswer['output'] {
  if (result.outcome === 'done') return { type: 'text', value: bounded(result.text, maxBytes) };
  const { id, message } = result.error ?? { id: 'internal', message: 'the call failed' };
  return { type: 'error-text', value: bounded(`${id}: ${message}`, maxBytes) };
}

function bounded(text: string, maxBytes: number): string {
  const length = Buffer.byteLength(text);
  if (length <= maxBytes) return text;
  // A character takes a byte at least.
  const bytes = Buffer.from(text.slice(0, maxBytes + 1));
  let end = maxBytes;
  // Back to the first byte of a character: continuation bytes are 10xxxxxx.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `${bytes.toString('utf8', 0, end)}\n[cut: ${end} of ${length} bytes shown]`;
}

/** Where the calls of a reply could not be read: in its JSON plan, its arguments, or in their number. */
export type FaultPlace = 'plan' | 'arguments' | 'calls';

type ReadCalls =
  | { readonly calls: readonly AskedCall[]; readonly fault?: undefined }
  | {
      readonly calls?: undefined;
      /** The reason is for the model. */
      readonly fault: { readonly in: FaultPlace; readonly reason: string };
    };

/** The calls of a reply, unless one of them cannot run: then none does. */
export function readCalls(
  { toolCalls, unreadable }: Pick<Reply, 'toolCalls' | 'unreadable'>,
  maxCalls: number,
): ReadCalls {
  if (unreadable !== undefined) return { fault: { in: 'plan', reason: unreadable } };
  if (toolCalls.length > maxCalls) {
    const reason = `${toolCalls.length} tool calls at once, ${maxCalls} are allowed`;
    return { fault: { in: 'calls', reason } };
  }
  const calls = toolCalls.map((request) => ({ request, args: readArguments(request.input) }));
  const wrong = calls.find(({ args }) => args.error !== undefined);
  if (wrong === undefined) return { calls };
  const { request, args } = wrong;
  const reason = `the arguments of ${request.toolName.slice(0, 100)} ${args.error?.message}`;
  return { fault: { in: 'arguments', reason } };
}

/** A reply as the next request repeats it, signatures included; undefined when providers would refuse it. */
export function assistantMessage(
  { parts, target }: Pick<Reply, 'parts' | 'target'>,
  calls: readonly AskedCall[],
): ModelMessage | undefined {
  const inputs = new Map(calls.map(({ request, args }) => [request, args.value]));
  const content = parts.flatMap((part): AssistantPart[] => {
    if (part.type !== 'tool-call') return [part];
    // A call that a filter stopped gets no result, and providers refuse one without.
    if (!inputs.has(part)) return [];
    const { type, toolCallId, toolName, providerMetadata: providerOptions } = part;
    const call = { type, toolCallId, toolName, input: inputs.get(part) };
    return [providerOptions === undefined ? call : { ...call, providerOptions }];
  });
  // Reasoning by itself is refused by its provider, and an empty message by all of them.
  const isEmpty = content.every((part) => part.type === 'reasoning');
  return isEmpty ? undefined : { role: 'assistant', content, provider: target?.provider.name };
}

/** Fits a long text; more belongs in a file. */
const MAX_ARGUMENTS_BYTES = 256 * 1024;

export function readArguments(written: string): ToolArguments {
  if (Buffer.byteLength(written) > MAX_ARGUMENTS_BYTES) {
    return unreadable(written, `are longer than ${MAX_ARGUMENTS_BYTES} bytes`);
  }
  try {
    const value: unknown = JSON.parse(written);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject) return unreadable(written, 'are not a JSON object');
    return { value, text: canonicalText(value) };
  } catch (cause) {
    // A model that sees its own mistake corrects it better than one that reads "invalid".
    const why = cause instanceof SyntaxError ? cause.message : fromUnknown(cause).message;
    return unreadable(written, `are not JSON (${why})`, cause);
  }
}

function unreadable(text: string, reason: string, cause?: unknown): ToolArguments {
  const error = new ZlError('tool.arguments_invalid', reason, { cause });
  return { value: undefined, text, error };
}
