import type { CallOutcome } from '@zerolatency/call';
import type { Validator } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { verifyDeviceReceipt } from '@zerolatency/receipts';
import { maskJson, type OnMasked } from '@zerolatency/redaction';
import type { Digest, Envelope } from '@zerolatency/signing';
import { type DeviceWord, type Ending, endedAs } from './ending.ts';
import type { RemoteEnding } from './remote-call.ts';

export interface EndingRules {
  readonly tool: string;
  /** Of the tool's contract. */
  readonly result: Validator | undefined;
  readonly onMasked?: OnMasked;
}

const MAX_ERROR_CHARS = 2000;

/** What this host believes of what came back. */
export function readEnding(remote: RemoteEnding, rules: EndingRules): Ending {
  return heard(remote, () => readResult(remote, rules), rules.onMasked);
}

/** Of a call that an earlier run of this host sent: its result was never seen, only what became of it. */
export function readRecoveredEnding(remote: RemoteEnding): Ending {
  return heard(remote, () => doneWith('', remote.outcome));
}

function heard(remote: RemoteEnding, done: () => Ending, onMasked?: OnMasked): Ending {
  const { outcome, remoteUs } = remote;
  const times = { remoteUs, deviceUs: outcome.deviceUs, serverUs: outcome.serverUs };
  const device = isDevicesWord(remote) ? readWord(remote) : undefined;
  // Whoever is on the way can say anything; without the device's signature nothing is known.
  if (device !== undefined && 'error' in device) {
    return { ...endedAs('unknown', device.error), ...times };
  }
  const ending = outcome.status === 'done' ? done() : readFailure(remote, onMasked);
  return { ...ending, ...times, ...(device === undefined ? {} : { device }) };
}

/** The caller machine may still have to say unknown after the device has spoken. */
function isDevicesWord({ outcome, statedByDevice }: RemoteEnding): boolean {
  return statedByDevice && (outcome.status !== 'unknown' || outcome.receipt.length > 0);
}

function readWord({ outcome, verifier }: RemoteEnding): DeviceWord | { error: ZlError } {
  let envelope: unknown;
  try {
    envelope = JSON.parse(Buffer.from(outcome.receipt).toString());
  } catch (cause) {
    return { error: new ZlError('receipt.invalid', 'the device gave no receipt', { cause }) };
  }
  const { value, error } = verifyDeviceReceipt({
    envelope,
    deviceKeys: verifier === undefined ? [] : [verifier],
  });
  // It has verified as an envelope, so it is one.
  return error === undefined ? { envelope: envelope as Envelope, receipt: value } : { error };
}

function readFailure({ outcome }: RemoteEnding, onMasked?: OnMasked): Ending {
  const error = outcome.error ?? new ZlError('internal', 'a failed call without an error');
  return endedAs(outcome.status === 'done' ? 'unknown' : outcome.status, error, onMasked);
}

function readResult(
  { outcome, result }: RemoteEnding,
  { tool, result: schema, onMasked }: EndingRules,
): Ending {
  const parsed = parse(result);
  if (parsed === undefined) return invalid(`${tool} gave a result that is not an MCP result`);
  if (parsed.isError === true) {
    const error = new ZlError('tool.failed', textOf(parsed.content) || `${tool} failed`);
    return endedAs('failed', error, onMasked);
  }
  const fault = schema?.validate(parsed.structuredContent).error;
  if (fault !== undefined) return invalid(`result of ${tool}: ${fault.message}`);
  return doneWith(JSON.stringify(maskJson(parsed, { onMasked })), outcome);
}

function doneWith(resultJson: string, outcome: CallOutcome): Ending {
  const resultDigest: Digest = `sha256:${Buffer.from(outcome.resultDigest).toString('hex')}`;
  return { outcome: 'done', resultJson, resultDigest, remoteUs: 0, deviceUs: 0, serverUs: 0 };
}

interface McpResult {
  readonly isError?: unknown;
  readonly content?: unknown;
  readonly structuredContent?: unknown;
}

function parse(result: Uint8Array): McpResult | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(result));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    // Told to the caller as a result that is not one.
    return undefined;
  }
}

function textOf(content: unknown): string {
  if (!Array.isArray(content)) return '';
  const texts = content.map((part: { text?: unknown } | null) => part?.text);
  return texts
    .filter((text) => typeof text === 'string')
    .join('\n')
    .slice(0, MAX_ERROR_CHARS);
}

function invalid(message: string): Ending {
  return endedAs('failed', new ZlError('tool.result_invalid', message));
}
