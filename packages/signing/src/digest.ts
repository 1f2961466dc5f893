import { hash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

export type Digest = `sha256:${string}`;

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

export function digestOfBytes(bytes: Uint8Array): Digest {
  return `sha256:${hash('sha256', bytes, 'hex')}`;
}

/** The digest under which arguments, results, bundles and configurations are known. */
export function digestOf(value: unknown): Digest {
  return digestOfBytes(canonicalJson(value));
}
