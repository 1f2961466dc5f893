import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { digestOf } from '@zerolatency/signing';
import argsSchema from '../../../../../contracts/agents/args.schema.json' with { type: 'json' };
import resultSchema from '../../../../../contracts/agents/result.schema.json' with { type: 'json' };
import type {
  ExecutableCall,
  Execution,
  ExecutionContext,
  Executor,
  ExecutorTool,
} from '../../calls/ports.ts';
import type { NestedTask } from '../../ports.ts';

/** A model with instructions and tools of its own, which other models call as a tool. */
export interface Agent extends Omit<NestedTask, 'text'> {
  /** The tool is agent.<name>. */
  readonly name: string;
  /** For the models that may call it. */
  readonly description: string;
}

const SERVER = 'agent';
/** Of the contract. */
const VERSION = '1.0.0';

const args = compileSchema<{ readonly task: string }>(argsSchema, 'built-in');
const result = compileSchema(resultSchema, 'built-in');

/** Runs a call of an agent as a nested turn. */
export function agentExecutor(agents: readonly Agent[]): Executor {
  const byTool = new Map(agents.map((agent) => [`${SERVER}.${agent.name}`, agent]));
  const offered = new Map([...byTool].map(([tool, agent]) => [tool, offer(tool, agent)]));
  return {
    open: async () => ({
      tools: () => offered,
      async execute(call, context) {
        const agent = byTool.get(call.tool.definition.name);
        const task = args.validate(call.args.value).value?.task;
        if (agent === undefined || task === undefined || context.startTurn === undefined) {
          throw new ZlError('internal', `${call.tool.definition.name} cannot start a turn`);
        }
        await context.intend();
        context.signal.throwIfAborted();
        const { startTurn, signal } = context;
        return execute(call, () => startTurn({ ...agent, text: task }, signal));
      },
    }),
    // What its turn did is in the records of that turn's own calls.
    recover: () => undefined,
  };
}

type StartedTurn = ReturnType<NonNullable<ExecutionContext['startTurn']>>;

async function execute(
  { maxBytes, tool }: ExecutableCall,
  start: () => StartedTurn,
): Promise<Execution> {
  const startedMs = performance.now();
  const { outcome, text: answer, error } = await start();
  const serverUs = Math.round((performance.now() - startedMs) * 1000);
  const facts = { wasSent: true, remoteUs: 0, deviceUs: 0, serverUs };
  if (outcome === 'cancelled') {
    const stopped = new ZlError('call.cancelled', 'the turn of the agent was cancelled');
    return { ...facts, outcome, error: stopped };
  }
  if (outcome === 'failed') {
    return { ...facts, outcome, ...(error !== undefined && { error }) };
  }
  const name = tool.definition.name;
  if (Buffer.byteLength(answer) > maxBytes) {
    const message = `the answer of ${name} is longer than ${maxBytes} bytes`;
    return { ...facts, outcome: 'failed', error: new ZlError('tool.result_too_large', message) };
  }
  const content = { content: [], structuredContent: { answer } };
  return { ...facts, outcome, result: content, resultDigest: digestOf(content) };
}

function offer(name: string, { name: toolName, description }: Agent): ExecutorTool {
  return {
    definition: {
      name,
      description: `${description} An agent: it runs apart from this conversation, and not on the device.`,
      inputSchema: argsSchema,
    },
    executor: 'host',
    server: SERVER,
    toolName,
    version: VERSION,
    // Its tools are decided, intended and recorded by themselves.
    statedEffects: false,
    hasEffects: false,
    isReady: true,
    args: () => args,
    result,
  };
}
