import { hash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import canonicalize from 'canonicalize';

export type Digest = `sha256:${string}`;

/** Deeper than any honest arguments, and shallow enough for every recursive reader. */
export const MAX_VALUE_DEPTH = 64;

/** RFC 8785. Refuses values that JSON cannot express, so that two different values never share a digest. */
export function canonicalJson(value: unknown): Uint8Array {
  return Buffer.from(canonicalText(value), 'utf8');
}

export function canonicalText(value: unknown): string {
  refuseUnlessJson(value, '', 0);
  // The check above has refused every value that has no text.
  return canonicalize(value) ?? refuse('', 'is not JSON');
}

/** Identifies arguments, results, bundles and configurations. */
export function digestOf(value: unknown): Digest {
  return digestOfBytes(canonicalJson(value));
}

export function digestOfBytes(bytes: Uint8Array): Digest {
  return `sha256:${hash('sha256', bytes, 'hex')}`;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}

function refuseUnlessJson(value: unknown, path: string, depth: number): void {
  switch (typeof value) {
    case 'boolean':
      return;
    case 'string':
      if (!value.isWellFormed()) refuse(path, 'contains a lone surrogate');
      return;
    case 'number':
      if (!Number.isFinite(value)) refuse(path, `is ${value}, which JSON cannot express`);
      return;
    case 'object':
      if (value !== null) refuseUnlessContainer(value, path, depth);
      return;
    default:
      refuse(path, `is ${typeof value}, which is not JSON`);
  }
}

function refuseUnlessContainer(value: object, path: string, depth: number): void {
  if (depth === MAX_VALUE_DEPTH) refuse(path, `is nested deeper than ${MAX_VALUE_DEPTH} levels`);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) refuseUnlessJson(value[i], `${path}/${i}`, depth + 1);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) refuse(path, 'is not a plain object');
  for (const [key, member] of Object.entries(value)) {
    if (!key.isWellFormed()) refuse(path, 'has a name with a lone surrogate');
    refuseUnlessJson(member, `${path}/${key}`, depth + 1);
  }
}

function refuse(path: string, why: string): never {
  throw new ZlError('request.invalid', `${path === '' ? 'the value' : path} ${why}`);
}
