import { ZlError } from '@zerolatency/errors';
import { readIfThere } from '@zerolatency/service/files';
import { strictBase64, toBase64 } from '@zerolatency/signing';

/** What a ledger held at some time, and so has to hold now. */
export interface Anchor {
  readonly ledgerId: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The newest checkpoint, kept outside the ledger's folder: who changes the folder does not reach it. */
export interface Floor extends Anchor {
  /** The host stopped in order, so no record can be above it. */
  readonly isClosed: boolean;
}

export async function readFloor(path: string): Promise<Floor | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const floor = parseFloor(text);
  if (floor !== undefined) return floor;
  throw new ZlError(
    'ledger.corrupt',
    `${path} does not say what the ledger held. Restore it; to go on with the ledger as it is, remove it`,
  );
}

export function floorText({ ledgerId, size, root, isClosed }: Floor): string {
  return `${JSON.stringify({ ledgerId, size, root: toBase64(root), isClosed })}\n`;
}

function parseFloor(text: string): Floor | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The caller names the file.
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('ledgerId' in value && 'size' in value && 'root' in value)) return undefined;
  const { ledgerId, size } = value;
  const root = typeof value.root === 'string' ? strictBase64(value.root) : undefined;
  if (typeof ledgerId !== 'string' || typeof size !== 'number') return undefined;
  if (!Number.isSafeInteger(size) || size < 1 || root?.length !== 32) return undefined;
  return { ledgerId, size, root, isClosed: 'isClosed' in value && value.isClosed === true };
}
