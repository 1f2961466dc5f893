import { compileSchema } from '@zerolatency/contracts';
import { fromUnknown } from '@zerolatency/errors';
import { digestOf } from '@zerolatency/signing';
import type { Execution, ExecutionContext, Executor, ExecutorTool } from '../src/calls/ports.ts';

/** A tool that the host runs itself. */
export interface HostTool {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly inputSchema: object;
  readonly resultSchema?: object;
  readonly hasEffects: boolean;
  /** Returns the structured content of its result. */
  run(args: unknown, context: ExecutionContext): Promise<unknown> | unknown;
}

export const clockNow: HostTool = {
  name: 'clock.now',
  version: '1.0.0',
  description: 'The current time.',
  inputSchema: {
    type: 'object',
    additionalProperties: false,
    properties: { zone: { enum: ['UTC'] } },
  },
  resultSchema: { type: 'object', required: ['time'], properties: { time: { type: 'string' } } },
  hasEffects: false,
  run: (_args, { nowMs }) => ({ time: new Date(nowMs()).toISOString() }),
};

/** Executes tools in this process. */
export function hostExecutor(...tools: readonly HostTool[]): Executor {
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  const offered = new Map(tools.map((tool) => [tool.name, offer(tool)]));
  return {
    open: async () => ({
      tools: () => offered,
      async execute({ tool, args }, context) {
        await context.intend();
        context.signal.throwIfAborted();
        const startedMs = performance.now();
        const spent = () => Math.round((performance.now() - startedMs) * 1000);
        try {
          const content = await byName.get(tool.definition.name)?.run(args.value, context);
          return done({ content: [], structuredContent: content }, spent());
        } catch (reason) {
          const outcome = context.signal.aborted ? 'cancelled' : 'failed';
          const error = fromUnknown(reason, { aborted: 'call.cancelled' });
          return { outcome, error, ...ran(spent()) };
        }
      },
    }),
    // A host that died has lost what its tools did.
    recover: () => undefined,
  };
}

function done(result: Execution['result'] & object, serverUs: number): Execution {
  return { outcome: 'done', result, resultDigest: digestOf(result), ...ran(serverUs) };
}

function ran(serverUs: number) {
  return { wasSent: true, remoteUs: 0, deviceUs: 0, serverUs };
}

function offer(tool: HostTool): ExecutorTool {
  const { name, description, inputSchema, version, hasEffects, resultSchema } = tool;
  const [server = '', toolName = ''] = name.split('.');
  const args = compileSchema(inputSchema, 'contract');
  return {
    definition: { name, description, inputSchema },
    executor: 'host',
    server,
    toolName,
    version,
    isReady: true,
    hasEffects,
    args: () => args,
    result: resultSchema && compileSchema(resultSchema, 'contract'),
  };
}
