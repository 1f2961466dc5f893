const SHAPE = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Refuses what Buffer forgives (spaces, missing padding, bits beyond the last
 * byte), so that nobody can change a signed text without breaking it.
 */
export function strictBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !SHAPE.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
