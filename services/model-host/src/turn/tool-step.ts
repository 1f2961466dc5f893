import type { PreparedCall, Toolbox, ToolResult } from '../ports.ts';
import type { ToolAnswer, ToolCallRequest } from '../providers/port.ts';
import { toolText } from './tool-text.ts';
import type { TurnEvents } from './turn-events.ts';

export interface ToolStep {
  readonly toolbox: Toolbox;
  readonly calls: readonly ToolCallRequest[];
  readonly step: number;
  readonly events: TurnEvents;
  readonly maxResultBytes: number;
}

export interface ToolStepEnd {
  readonly callIds: readonly string[];
  readonly answers: readonly ToolAnswer[];
}

// A delta for each frame of a large result would drown the stream.
const PROGRESS_EVERY_BYTES = 64 * 1024;

/**
 * Runs the calls of one step side by side. Events are in an order that does not
 * depend on which call is quicker: every `started` in the model's order before
 * any call runs, then every `done` in the model's order, each as soon as the
 * ones before it are told. Only progress falls in between as it happens.
 *
 * Also when cancelled it returns only after every call has its outcome.
 */
export async function runToolStep(step: ToolStep, signal: AbortSignal): Promise<ToolStepEnd> {
  const prepared = step.calls.map((call) => step.toolbox.prepare(call.tool, call.argumentsText));
  for (const call of prepared) step.events.started(call, step.step);
  const running = prepared.map((call) =>
    call.run({ signal, onProgress: progressOf(call, step.events) }),
  );
  const results: ToolResult[] = [];
  for (const [index, call] of prepared.entries()) {
    const result = await running[index];
    if (result === undefined) continue;
    if (step.events.full) await step.events.room(signal);
    step.events.finished(call.callId, result);
    results.push(result);
  }
  return {
    callIds: prepared.map((call) => call.callId),
    answers: results.flatMap((result, index) => answerOf(step, result, index)),
  };
}

function answerOf(step: ToolStep, result: ToolResult, index: number): ToolAnswer[] {
  const call = step.calls[index];
  if (call === undefined) return [];
  return [{ id: call.id, tool: call.tool, ...toolText(result, step.maxResultBytes) }];
}

function progressOf(call: PreparedCall, events: TurnEvents): (receivedBytes: number) => void {
  let told = 0;
  return (receivedBytes) => {
    // Progress is cumulative, so a reader that is behind misses nothing by missing one.
    if (receivedBytes - told < PROGRESS_EVERY_BYTES || events.full) return;
    told = receivedBytes;
    events.progress(call.callId, receivedBytes);
  };
}
