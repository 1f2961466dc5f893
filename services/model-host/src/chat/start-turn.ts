import { randomBytes } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { type NameKind, parseName } from '@zerolatency/identity';
import {
  type Message,
  OnDisconnect,
  Role,
  type StartTurn,
  type TurnLimits,
} from '@zerolatency/proto/agent';
import { maskText, type OnMasked } from '@zerolatency/redaction';
import { durationMicros } from '@zerolatency/service/rpc';
import type { ModelMessage } from '../providers/port.ts';
import type { TurnAsk } from '../turn/turns.ts';

// Many pages of text; more belongs in a file that a tool reads.
export const MAX_TEXT_BYTES = 256 * 1024;
export const MAX_HISTORY_MESSAGES = 200;
export const MAX_HISTORY_BYTES = 1024 * 1024;

const MODEL_PATTERN = /^\w[\w.:@-]{0,127}$/;

/** A StartTurn whose fields were checked against their bounds. */
export interface StartedTurn extends Pick<TurnAsk, 'sessionId' | 'deviceId' | 'limits' | 'model'> {
  readonly text: string;
  readonly history: readonly ModelMessage[];
  readonly survivesDisconnect: boolean;
}

/** @throws ZlError request.invalid or request.too_large that names the field. */
export function readStartTurn(start: StartTurn, onMasked: OnMasked): StartedTurn {
  if (start.text.trim() === '') throw invalid('start.text', 'is empty');
  return {
    text: boundedText(start.text, 'start.text', onMasked),
    sessionId:
      start.sessionId === ''
        ? randomBytes(16).toString('hex')
        : readName('session', start.sessionId, 'start.session_id'),
    deviceId: start.deviceId === '' ? '' : readName('device', start.deviceId, 'start.device_id'),
    model: start.model === '' ? '' : readModel(start.model),
    history: readHistory(start.history, onMasked),
    limits: readLimits(start.limits),
    survivesDisconnect: readOnDisconnect(start.onDisconnect),
  };
}

function readLimits(limits: TurnLimits | undefined): StartedTurn['limits'] {
  if (limits === undefined) return {};
  const { maxSteps, maxToolDepth, maxInputTokens, maxOutputTokens, timeout } = limits;
  const timeoutMs = Math.ceil(durationMicros(timeout) / 1000);
  if (timeoutMs < 0) throw invalid('start.limits.timeout', 'is negative');
  return { maxSteps, maxToolDepth, maxInputTokens, maxOutputTokens, timeoutMs };
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
    if (message.role === Role.USER) return { role: 'user', text };
    if (message.role === Role.ASSISTANT) return { role: 'assistant', text, toolCalls: [] };
    throw invalid(`${field}.role`, 'is neither user nor assistant');
  });
}

function readOnDisconnect(value: OnDisconnect): boolean {
  if (value === OnDisconnect.CONTINUE) return true;
  if (value === OnDisconnect.UNSPECIFIED || value === OnDisconnect.CANCEL) return false;
  throw invalid('start.on_disconnect', 'is not a known choice');
}

/** A person's text as the model may see it. */
function boundedText(text: string, field: string, onMasked: OnMasked): string {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw tooLarge(field, `is longer than ${MAX_TEXT_BYTES} bytes`);
  }
  return maskText(text, { onMasked }).text;
}

function readName(kind: NameKind, given: string, field: string): string {
  const { value, error } = parseName(kind, given);
  if (error !== undefined) throw invalid(field, error);
  return value;
}

function readModel(model: string): string {
  if (MODEL_PATTERN.test(model)) return model;
  const reads = 'up to 128 letters, digits, ".", ":", "@", "_" and "-"';
  throw invalid('start.model', `is not a model name: ${reads}`);
}

function invalid(field: string, reason: string): ZlError {
  return new ZlError('request.invalid', `${field} ${reason}`, { field });
}

function tooLarge(field: string, reason: string): ZlError {
  return new ZlError('request.too_large', `${field} ${reason}`, { field });
}
