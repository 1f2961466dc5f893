import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ToolResult } from '../../src/ports.ts';
import { readArguments } from '../../src/turn/tool-step.ts';
import { readTool } from './offered-tools.ts';
import { never, SCOPE, type ToolWorldOptions, toolWorld } from './tool-world.ts';

/** A tool world with the toolbox of a turn open. */
export async function started(t: TestContext, options: Partial<ToolWorldOptions> = {}) {
  const world = await toolWorld(t, { tools: [readTool()], ...options });
  const toolbox = await world.toolboxes.open(SCOPE, never);
  const run = (tool: string, args: unknown, signal = never) =>
    toolbox.prepare(tool, readArguments(JSON.stringify(args))).run({ signal });
  return { ...world, toolbox, run };
}

export function assertEnds(
  result: ToolResult,
  outcome: ToolResult['outcome'],
  errorId?: string,
): void {
  assert.equal(result.error?.id, errorId, result.error?.message);
  assert.equal(result.outcome, outcome);
}
