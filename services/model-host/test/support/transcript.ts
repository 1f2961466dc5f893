import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type ChatEvent, ChatEventSchema } from '@zerolatency/proto/agent';

/**
 * Events as JSON that is the same in every run: ids become t1, c1 and so on,
 * measured times and records become constants, and neighbouring deltas become
 * one, since how they are cut is a matter of how quick the reader is.
 */
export function transcriptOf(events: readonly ChatEvent[]): JsonObject[] {
  const rename = new Renaming();
  const lines: JsonObject[] = [];
  for (const event of events) {
    const line = toJson(ChatEventSchema, event);
    const before = lines.at(-1);
    if (!isObject(line)) continue;
    if (isObject(line.assistantDelta) && isObject(before?.assistantDelta)) {
      before.assistantDelta.text = `${before.assistantDelta.text}${line.assistantDelta.text}`;
      continue;
    }
    const { sequence: _, firstSequence: _first, turnId, ...rest } = line;
    lines.push({ turnId: rename.of('t', turnId), ...constant(rest, rename) });
  }
  return lines;
}

class Renaming {
  readonly #names = new Map<unknown, string>();
  readonly #counts = new Map<string, number>();

  of(prefix: string, id: unknown): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    this.#names.set(id, `${prefix}${count}`);
    return `${prefix}${count}`;
  }
}

function constant(line: JsonObject, rename: Renaming): JsonObject {
  return Object.fromEntries(
    Object.entries(line).map(([key, value]) => {
      if (key === 'callId' || key === 'parentCallId') return [key, rename.of('c', value)];
      if (typeof value === 'string' && /^[0-9.]+s$/.test(value)) return [key, '0s'];
      if (key === 'auditId') return [key, 'audit'];
      if (key === 'traceId') return [key, 'trace'];
      return [key, isObject(value) ? constant(value, rename) : value];
    }),
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
