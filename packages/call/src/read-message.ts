import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';

/** Undefined for bytes that are not that message: a peer may send anything. */
export function readMessage<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch {
    // The generated codec throws on bytes it cannot read; its reason helps nobody further up.
    return undefined;
  }
}

export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
