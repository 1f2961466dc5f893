import { subset } from 'semver';
import type { Rule } from './bundle.ts';
import { matchesGlob } from './glob.ts';

/**
 * Whether every call to which b applies is one to which a applies. May say
 * no where the answer is yes, never the other way round.
 */
export function covers(a: Rule, b: Rule): boolean {
  return (
    b.tools.every((glob) => a.tools.some((wider) => matchesGlob(wider, glob))) &&
    coversSet(a.tenants, b.tenants) &&
    coversSet(a.users, b.users) &&
    coversSet(a.roles, b.roles) &&
    coversSet(a.devices, b.devices) &&
    coversVersions(a.versions, b.versions) &&
    coversSame(a.hours, b.hours) &&
    coversSame(a.paths, b.paths)
  );
}

function coversSet(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === undefined || (b?.every((name) => a.includes(name)) ?? false);
}

function coversVersions(a: string | undefined, b: string | undefined): boolean {
  return a === undefined || (b !== undefined && subset(b, a));
}

function coversSame(a: unknown, b: unknown): boolean {
  return a === undefined || JSON.stringify(a) === JSON.stringify(b);
}
