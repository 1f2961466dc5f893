import { create, fromBinary } from '@bufbuild/protobuf';
import { sizeDelimitedEncode, sizeDelimitedPeek } from '@bufbuild/protobuf/wire';
import { ChatEventSchema } from '@zerolatency/proto/agent';
import type { LogEntry, TurnEvent } from '../../turn/turn-log.ts';

/** Events one after another, without the heads that all events of a turn share. */
export function encodeBatch(entries: readonly LogEntry[]): Uint8Array {
  const events = entries.map(({ event }) =>
    sizeDelimitedEncode(ChatEventSchema, create(ChatEventSchema, { event })),
  );
  return Buffer.concat(events);
}

export function decodeBatch(bytes: Uint8Array): TurnEvent[] {
  const events: TurnEvent[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const { size, offset } = sizeDelimitedPeek(rest);
    if (size === null || offset === null) throw new Error('a batch ends within an event');
    const { event } = fromBinary(ChatEventSchema, rest.subarray(offset, offset + size));
    events.push(event.case === undefined ? UNKNOWN : event);
    rest = rest.subarray(offset + size);
  }
  return events;
}

/** Written by a pod of a later release. */
const UNKNOWN: TurnEvent = {
  case: 'streamGap',
  value: { reason: 'this pod does not know the event' },
};
