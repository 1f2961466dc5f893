import type { Validator } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';
import { maskJson, maskText, type OnMasked } from '@zerolatency/redaction';
import type { Execution } from './executor.ts';
import { type McpResult, plainText, textForModel } from './mcp-result.ts';

/** How a call ended, checked and masked, before it is recorded. */
export interface Settlement extends Omit<Execution, 'result' | 'release'> {
  /** Both empty unless done. */
  readonly resultJson: string;
  readonly text: string;
}

export interface SettleRules {
  readonly tool: string;
  /** The result schema of the tool's contract. */
  readonly schema: Validator | undefined;
  readonly onMasked: OnMasked;
  /** Somebody asked for the call to stop. */
  readonly isCancelled: boolean;
}

const MAX_ERROR_CHARS = 2000;

/** What this host accepts of what an executor stated. */
export function settle(execution: Execution, rules: SettleRules): Settlement {
  const { result, release: _, ...stated } = execution;
  const { tool, schema, onMasked, isCancelled } = rules;
  if (stated.outcome === 'cancelled' && !isCancelled) {
    const late = new ZlError('tool.timeout', `${tool} did not finish in time`);
    return { ...stated, ...settledAs('failed', late) };
  }
  if (stated.outcome !== 'done') {
    const error = stated.error ?? new ZlError('internal', 'a failed call without an error');
    return { ...stated, ...settledAs(stated.outcome, error, onMasked) };
  }
  const fault = faultOf(result, tool, schema);
  if (fault !== undefined || result === undefined) {
    const error = fault ?? new ZlError('tool.result_invalid', `${tool} returned no MCP result`);
    const { resultDigest: __, ...rest } = stated;
    return { ...rest, ...settledAs('failed', error, onMasked) };
  }
  const masked = maskJson(result, { onMasked });
  return { ...stated, resultJson: JSON.stringify(masked), text: textForModel(masked) };
}

function faultOf(
  result: McpResult | undefined,
  tool: string,
  schema: Validator | undefined,
): ZlError | undefined {
  if (result === undefined) return undefined;
  if (result.isError === true) {
    const text = plainText(result).slice(0, MAX_ERROR_CHARS);
    return new ZlError('tool.failed', text || `${tool} failed`);
  }
  const fault = schema?.validate(result.structuredContent).error;
  if (fault === undefined) return undefined;
  return new ZlError('tool.result_invalid', `result of ${tool}: ${fault.message}`);
}

const NO_RESULT = { resultJson: '', text: '' };
const NO_TIMES = { remoteUs: 0, deviceUs: 0, serverUs: 0 };

/** A settlement that no executor stated. */
export function settledHere(
  outcome: Exclude<Outcome, 'done'>,
  error: ZlError,
  onMasked?: OnMasked,
): Settlement {
  return { ...NO_TIMES, ...settledAs(outcome, error, onMasked) };
}

/** An error message quotes foreign text, which may hold a secret. */
export function settledAs(
  outcome: Exclude<Outcome, 'done'>,
  error: ZlError,
  onMasked?: OnMasked,
): Pick<Settlement, 'outcome' | 'error' | 'resultJson' | 'text'> {
  const { text } = maskText(error.message, { onMasked });
  const masked = text === error.message ? error : new ZlError(error.id, text, { cause: error });
  return { outcome, error: masked, ...NO_RESULT };
}

/** An earlier run of this host sent the call, so its result was never seen. */
export function settleRecovered({ result: _, release: __, ...stated }: Execution): Settlement {
  return { ...stated, ...NO_RESULT };
}
