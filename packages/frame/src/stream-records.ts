import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { sizeDelimitedEncode, sizeDelimitedPeek } from '@bufbuild/protobuf/wire';
import { type StreamRecord, StreamRecordSchema } from '@zerolatency/proto/stream';

/** Size, tag and length of a record around its frame. */
export const RECORD_OVERHEAD_BYTES = 16;

/** A record may be a single byte, and decoded it takes a hundred. */
export const MAX_POST_RECORDS = 4096;

export const STREAM_ID_HEADER = 'zl-stream';
export const STREAM_SEQUENCE_HEADER = 'zl-sequence';
/** A browser asks before it sends it to another origin, and no answer of a relay allows it. */
export const STREAM_CONTENT_TYPE = 'application/octet-stream';

type Given = NonNullable<MessageInitShape<typeof StreamRecordSchema>['record']>;

export function encodeRecord(record: Given): Uint8Array {
  return sizeDelimitedEncode(StreamRecordSchema, create(StreamRecordSchema, { record }));
}

export type ReadRecords =
  | { readonly value: readonly StreamRecord['record'][]; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** Cuts what arrives into records; frames are views into it. */
export class RecordReader {
  readonly #maxBytes: number;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** With fewer bytes than these no record is complete. */
  #wantedBytes = 1;

  /** `maxBytes` is the limit of one record. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What has arrived of a record that is not complete. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** After an error the reader must not be used again. */
  read(chunk: Uint8Array): ReadRecords {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes < this.#wantedBytes) return { value: [] };
    const bytes = this.#held.length === 1 ? chunk : Buffer.concat(this.#held);
    try {
      const { value, end } = this.#cut(bytes);
      const rest = bytes.subarray(end);
      this.#held = rest.length === 0 ? [] : [rest];
      this.#heldBytes = rest.length;
      return { value };
    } catch (reason) {
      return { error: reason instanceof Error ? reason.message : String(reason) };
    }
  }

  #cut(bytes: Uint8Array) {
    const value: StreamRecord['record'][] = [];
    for (let start = 0; ; ) {
      const { eof, size, offset } = sizeDelimitedPeek(bytes.subarray(start));
      if (eof) {
        this.#wantedBytes = bytes.length - start + 1;
        return { value, end: start };
      }
      if (size > this.#maxBytes) throw new Error(`a record has ${size} bytes`);
      const end = start + offset + size;
      if (end > bytes.length) {
        this.#wantedBytes = end - start;
        return { value, end: start };
      }
      value.push(fromBinary(StreamRecordSchema, bytes.subarray(start + offset, end)).record);
      start = end;
    }
  }
}
