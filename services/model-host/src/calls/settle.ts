import type { Validator } from '@zerolatency/contracts';
import { fromUnknown, type Happened, mostOf, ZlError } from '@zerolatency/errors';
import { type Outcome, type Receipt, receiptsDiffer, signReceipt } from '@zerolatency/receipts';
import { maskJson, maskText, type OnMasked } from '@zerolatency/redaction';
import type { Signer } from '@zerolatency/signing';
import type { SettledCall, ToolResult } from '../ports.ts';
import type { CallFacts, CallLedger, Execution, McpResult } from './ports.ts';

/** How a call ended, checked and masked, before it is recorded. */
export interface Settlement extends Omit<Execution, 'result' | 'resultText' | 'release'> {
  /** Both empty unless done. */
  readonly resultJson: string;
  readonly text: string;
}

interface SettleRules {
  readonly tool: string;
  readonly schema: Validator | undefined;
  readonly onMasked: OnMasked;
  /** Somebody asked for the call to stop. */
  readonly isCancelled: boolean;
}

const MAX_ERROR_CHARS = 2000;

export function settle(execution: Execution, rules: SettleRules): Settlement {
  const { result, resultText, release: _, ...stated } = execution;
  const { tool, onMasked, isCancelled } = rules;
  if (stated.outcome === 'cancelled' && !isCancelled) {
    const late = new ZlError('tool.timeout', `${tool} did not finish in time`);
    return { ...stated, ...settledAs('failed', late) };
  }
  if (stated.outcome !== 'done') {
    const error = stated.error ?? new ZlError('internal', 'a failed call without an error');
    return { ...stated, ...settledAs(stated.outcome, error, onMasked) };
  }
  const fault = faultOf(result, rules);
  if (fault !== undefined || result === undefined) {
    const error = fault ?? new ZlError('tool.result_invalid', `${tool} returned no MCP result`);
    const { resultDigest: __, ...rest } = stated;
    return { ...rest, ...settledAs('failed', error, onMasked) };
  }
  const masked = maskJson(result, { onMasked, skips: isMedia });
  const isAsGiven = masked === result && resultText !== undefined && showsAll(result, resultText);
  const resultJson = isAsGiven ? resultText : JSON.stringify(masked);
  return { ...stated, resultJson, text: textForModel(masked) };
}

const NOT_BASE64 = /[^A-Za-z0-9+/=]/;

/** An image or sound in base64: a placeholder stands for it wherever a model, a log or a record reads. */
function isMedia(owner: object, name: string): boolean {
  if (name !== 'data' || !('type' in owner && 'data' in owner)) return false;
  const { type, data } = owner;
  const isNamed = type === 'image' || type === 'audio';
  return isNamed && typeof data === 'string' && !NOT_BASE64.test(data);
}

/** Beyond this, writing the JSON again costs no more than looking through it. */
const MAX_STRINGS = 10_000;

/** Whether the text has no members but those of the value: of two with one name, the first is not masked. */
function showsAll(value: object, text: string): boolean {
  const members = membersIn(text);
  return members !== undefined && members === membersOf(value);
}

/** The members in a text that is JSON: the strings before a colon. */
function membersIn(text: string): number | undefined {
  let members = 0;
  let strings = 0;
  for (let quote = text.indexOf('"'); quote !== -1; quote = text.indexOf('"', quote)) {
    do quote = text.indexOf('"', quote + 1);
    while (isEscaped(text, quote) && ++strings <= MAX_STRINGS);
    if (++strings > MAX_STRINGS) return undefined;
    quote += 1;
    BEFORE_VALUE.lastIndex = quote;
    if (BEFORE_VALUE.test(text)) members += 1;
  }
  return members;
}

const BEFORE_VALUE = /[ \t\n\r]*:/y;

function isEscaped(text: string, at: number): boolean {
  let start = at;
  while (text.charAt(start - 1) === '\\') start -= 1;
  return (at - start) % 2 === 1;
}

function membersOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let members = Array.isArray(value) ? 0 : Object.keys(value).length;
  for (const part of Object.values(value)) members += membersOf(part);
  return members;
}

function faultOf(
  result: McpResult | undefined,
  { tool, schema, onMasked }: SettleRules,
): ZlError | undefined {
  if (result === undefined) return undefined;
  if (result.isError === true) {
    // Masked before the cut, which may leave half a secret.
    const { text } = maskText(plainText(result), { onMasked });
    return new ZlError('tool.failed', text.slice(0, MAX_ERROR_CHARS) || `${tool} failed`);
  }
  const fault = schema?.validate(result.structuredContent).error;
  if (fault === undefined) return undefined;
  return new ZlError('tool.result_invalid', `result of ${tool}: ${fault.message}`);
}

const NO_RESULT = { resultJson: '', text: '' };
const NO_TIMES = { remoteUs: 0, deviceUs: 0, serverUs: 0 };
const NOT_SENT = { ...NO_TIMES, wasSent: false };

/** For a call that was not sent. */
export function settledHere(
  outcome: 'failed' | 'denied' | 'cancelled',
  error: ZlError,
  onMasked?: OnMasked,
): Settlement {
  return { ...NOT_SENT, ...settledAs(outcome, error, onMasked) };
}

/** For a call that may have run. */
export function settledUnknown(error: ZlError, onMasked?: OnMasked): Settlement {
  return { ...NO_TIMES, wasSent: true, ...settledAs('unknown', error, onMasked) };
}

/** An error message quotes foreign text, which may hold a secret. */
function settledAs(
  outcome: Exclude<Outcome, 'done'>,
  error: ZlError,
  onMasked?: OnMasked,
): Pick<Settlement, 'outcome' | 'error' | 'resultJson' | 'text'> {
  const { text } = maskText(error.message, { onMasked });
  const masked = text === error.message ? error : new ZlError(error.id, text, { cause: error });
  return { outcome, error: masked, ...NO_RESULT };
}

/** An earlier run of this host sent the call, so its result was never seen. */
export function settleRecovered(execution: Execution): Settlement {
  const { result: _, resultText: __, release: ___, ...stated } = execution;
  return { ...stated, ...NO_RESULT };
}

interface RecordCallOptions {
  readonly facts: CallFacts;
  readonly settlement: Settlement;
  readonly elapsedUs: () => number;
  readonly signer: Signer;
  readonly ledger: CallLedger;
  readonly onSettled?: ((settled: SettledCall) => void) | undefined;
}

type RecordedCall = Omit<ToolResult, 'happened'> & Pick<Execution, 'wasSent'>;

/** Signs and stores the receipt. Without one, a call that may have run is unknown. */
export async function recordCall(options: RecordCallOptions): Promise<RecordedCall> {
  const { facts, signer, ledger, elapsedUs, onSettled } = options;
  const { settlement, receipt } = agree(options);
  const { device: _, resultDigest: __, ...reported } = settlement;
  onSettled?.(reported);
  try {
    const envelope = await signReceipt(receipt, signer);
    await ledger.conclude(facts, envelope);
    return { ...reported, receiptJson: JSON.stringify(envelope), totalUs: elapsedUs() };
  } catch (reason) {
    const unrecorded = { ...reported, ...settledUnrecorded(settlement, reason) };
    return { ...unrecorded, receiptJson: '', totalUs: elapsedUs() };
  }
}

/** Whether the tool of an ended call may have acted. */
export function mayHaveRun({ outcome, wasSent }: Pick<Execution, 'outcome' | 'wasSent'>): boolean {
  return wasSent && outcome !== 'denied';
}

function settledUnrecorded(settlement: Settlement, cause: unknown): ReturnType<typeof settledAs> {
  const { outcome } = settlement;
  const message = `the call ended as ${outcome}, which cannot be recorded: ${fromUnknown(cause).message}`;
  if (outcome === 'done' || mayHaveRun(settlement)) {
    return settledAs('unknown', new ZlError('call.unknown_outcome', message, { cause }));
  }
  const { id } = fromUnknown(cause);
  const error = id === 'ledger.corrupt' ? id : 'ledger.failed';
  return settledAs(outcome, new ZlError(error, message, { cause }));
}

/** A device receipt that contradicts the outcome proves nothing. */
function agree({ facts, settlement, elapsedUs }: RecordCallOptions): {
  settlement: Settlement;
  receipt: Receipt;
} {
  const us = elapsedUs();
  const receipt = receiptOf(facts, settlement, us);
  if (settlement.device === undefined) return { settlement, receipt };
  const difference = receiptsDiffer(receipt, settlement.device.receipt);
  if (difference === undefined) return { settlement, receipt };
  const { device: _, resultDigest: __, ...rest } = settlement;
  const error = new ZlError('receipt.invalid', difference);
  const doubtful = { ...rest, ...settledAs('unknown', error) };
  return { settlement: doubtful, receipt: receiptOf(facts, doubtful, us) };
}

function receiptOf(
  { argumentSalt: _, ...facts }: CallFacts,
  settlement: Settlement,
  elapsedUs: number,
): Receipt {
  const { outcome, resultDigest, error, device } = settlement;
  return {
    ...facts,
    role: 'host',
    outcome,
    elapsedUs,
    resultDigest: outcome === 'done' ? resultDigest : undefined,
    errorId: error?.id,
    device: device?.envelope,
  };
}

/** What a model reads of a result; content that is not text leaves a placeholder. */
export function textForModel(result: unknown): string {
  if (!isObject(result)) return JSON.stringify(result);
  const parts = Array.isArray(result.content) ? result.content.flatMap(textOfPart) : [];
  if (result.structuredContent === undefined) {
    return parts.length === 0 ? JSON.stringify(result) : parts.map(({ text }) => text).join('\n');
  }
  // MCP repeats structured content as text for older clients; a model needs it once.
  const beside = parts.filter(({ isText }) => !isText).map(({ text }) => text);
  return [JSON.stringify(result.structuredContent), ...beside].join('\n');
}

/** The text parts alone, for messages of errors. */
export function plainText({ content }: McpResult): string {
  if (!Array.isArray(content)) return '';
  return content
    .flatMap(textOfPart)
    .flatMap(({ isText, text }) => (isText ? [text] : []))
    .join('\n');
}

interface PartText {
  readonly text: string;
  readonly isText: boolean;
}

function textOfPart(part: unknown): PartText[] {
  if (!isObject(part)) return [];
  const { type, text, resource } = part;
  if (type === 'text') return typeof text === 'string' ? [{ text, isText: true }] : [];
  if (type === 'resource' && isObject(resource)) {
    const where = `resource ${nameOf(resource.uri)}`;
    if (typeof resource.text === 'string') {
      return [{ text: `[${where}]\n${resource.text}`, isText: false }];
    }
    return [{ text: placeholder(where, resource.mimeType, resource.blob), isText: false }];
  }
  if (type === 'resource_link') {
    const label = `link ${nameOf(part.uri)} "${nameOf(part.title ?? part.name)}"`;
    return [{ text: placeholder(label, part.mimeType, undefined), isText: false }];
  }
  return [{ text: placeholder(nameOf(type), part.mimeType, part.data), isText: false }];
}

/** Such as [image image/png, 12,345 bytes]. */
function placeholder(what: string, mimeType: unknown, base64: unknown): string {
  const kind = typeof mimeType === 'string' ? ` ${nameOf(mimeType)}` : '';
  if (typeof base64 !== 'string') return `[${what}${kind}]`;
  const bytes = Buffer.byteLength(base64, 'base64').toLocaleString('en-US');
  return `[${what}${kind}, ${bytes} bytes]`;
}

const MAX_NAME_CHARS = 200;

/** Tools choose these names, so one cannot fill or break the placeholder it stands in. */
function nameOf(value: unknown): string {
  if (typeof value !== 'string') return 'unnamed';
  return value.slice(0, MAX_NAME_CHARS).replaceAll(/[\p{C}\p{Zl}\p{Zp}[\]"]/gu, ' ');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a turn or a call has done so far, with everything that runs inside it. */
export class EffectTracker {
  #most: Happened = 'nothing';
  #underWay = 0;

  /** Nobody knows yet what work under way does. */
  get happened(): Happened {
    return this.#underWay > 0 ? 'may have run' : this.#most;
  }

  async during<T extends { readonly happened: Happened }>(work: Promise<T>): Promise<T> {
    this.#underWay += 1;
    const end = await work;
    // Work that rejects has not said what it did, so it counts as under way for ever.
    this.#underWay -= 1;
    this.#most = mostOf(this.#most, end.happened);
    return end;
  }
}
