import { createHash, randomBytes } from 'node:crypto';
import type { Digest } from '@zerolatency/signing';

export const ARGUMENT_SALT_BYTES = 16;

export function newArgumentSalt(): Uint8Array {
  return randomBytes(ARGUMENT_SALT_BYTES);
}

/**
 * Commits to the arguments of one call. Without the salt, which stays in the
 * ledger, nobody can confirm a guess; with it, anyone can check the arguments.
 */
export function argumentsDigest(salt: Uint8Array, canonicalArguments: Uint8Array): Digest {
  const hex = createHash('sha256').update(salt).update(canonicalArguments).digest('hex');
  return `sha256:${hex}`;
}
