import { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';
import { maskText } from '@zerolatency/redaction';
import { textForModel } from '../../src/calls/settle.ts';
import type {
  CallCounts,
  CallOptions,
  PreparedCall,
  Recorder,
  ToolArguments,
  Toolboxes,
  ToolCallProgress,
  ToolDefinition,
  ToolResult,
  TurnRecord,
} from '../../src/ports.ts';

export interface FakeCall {
  readonly tool: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ToolCallProgress) => void;
  readonly startTurn: CallOptions['startTurn'];
}

/** What a tool of the test does: gives its content, or throws its error. */
export type FakeTool = ((call: FakeCall) => Promise<unknown> | unknown) & {
  readonly hasEffects?: boolean;
};

export interface FakeToolboxes extends Toolboxes {
  /** Calls that were prepared, run and ended, in that order of happening. */
  readonly log: string[];
  readonly running: () => number;
  /** One for each toolbox, in the order of opening. */
  readonly counts: (CallCounts | undefined)[];
}

/** A device that cannot be reached. */
export const AWAY = 'away';

const TIMES = { totalUs: 4, remoteUs: 3, deviceUs: 2, serverUs: 1 };

/** Toolboxes in this process, with receipts that only look like receipts. */
export function fakeToolboxes(tools: Readonly<Record<string, FakeTool>>): FakeToolboxes {
  const log: string[] = [];
  const counts: (CallCounts | undefined)[] = [];
  let calls = 0;
  let running = 0;
  const definitions: ToolDefinition[] = Object.keys(tools).map((name) => ({
    name,
    description: `the tool ${name}`,
    inputSchema: { type: 'object' },
  }));

  async function end(
    call: FakeCall,
  ): Promise<Pick<ToolResult, 'outcome' | 'resultJson' | 'text' | 'error'>> {
    try {
      const tool = tools[call.tool];
      if (tool === undefined) throw new ZlError('tool.unknown', `no tool ${call.tool}`);
      const structuredContent = await tool(call);
      const resultJson = maskText(JSON.stringify({ structuredContent })).text;
      return { outcome: 'done', resultJson, text: textForModel(JSON.parse(resultJson)) };
    } catch (reason) {
      if (call.signal.aborted) {
        const error = new ZlError('call.cancelled', 'the call was cancelled');
        return { outcome: 'cancelled', resultJson: '', text: '', error };
      }
      if (!(reason instanceof ZlError)) throw reason;
      return { outcome: outcomeOf(reason), resultJson: '', text: '', error: reason };
    }
  }

  function prepare(tool: string, args: ToolArguments): PreparedCall {
    calls += 1;
    const callId = calls.toString(16).padStart(32, '0');
    log.push(`prepared ${tool}`);
    return {
      callId,
      tool,
      argumentsJson: maskText(args.text).text,
      argumentsDigest: `sha256:${'0'.repeat(64)}`,
      async run({ signal, onProgress = () => {}, startTurn }) {
        log.push(`ran ${tool}`);
        running += 1;
        const result = await end({
          tool,
          arguments: JSON.parse(args.text),
          signal,
          onProgress,
          startTurn,
        });
        running -= 1;
        log.push(`ended ${tool}`);
        const happened = tools[tool]?.hasEffects ? 'may have run' : 'no effects';
        return { ...result, happened, receiptJson: '{"payload":"receipt"}', ...TIMES };
      },
    };
  }

  return {
    log,
    running: () => running,
    counts,
    open: async ({ deviceId }, _signal, { counts: shared } = {}) => {
      if (deviceId === AWAY) throw new ZlError('device.offline', `${deviceId} is not connected`);
      counts.push(shared);
      return { tools: deviceId === '' ? [] : definitions, prepare };
    },
  };
}

export interface FakeRecorder extends Recorder {
  readonly records: TurnRecord[];
}

export function fakeRecorder(): FakeRecorder {
  const records: TurnRecord[] = [];
  return {
    records,
    recordTurn: async (record) => {
      records.push(record);
      return `audit-${records.length}`;
    },
    checkpoint: async () => `checkpoint over ${records.length}`,
    recordWithheld() {},
  };
}

function outcomeOf(error: ZlError): Outcome {
  if (error.id.startsWith('policy.')) return 'denied';
  return error.id === 'call.unknown_outcome' ? 'unknown' : 'failed';
}
