import { matchesGlob, type Rule } from '@zerolatency/policy';
import { subset } from 'semver';

/** Whether a applies to every call to which b applies. May return a false no, never a false yes. */
export function covers(a: Rule, b: Rule): boolean {
  return (
    b.tools.every((glob) => a.tools.some((wider) => matchesGlob(wider, glob))) &&
    coversSet(a.tenants, b.tenants) &&
    coversSet(a.users, b.users) &&
    coversSet(a.roles, b.roles) &&
    coversSet(a.devices, b.devices) &&
    coversVersions(a.versions, b.versions) &&
    coversSame(a.hasEffects, b.hasEffects) &&
    coversSame(a.inSandbox, b.inSandbox) &&
    coversSame(a.hours, b.hours) &&
    coversSame(a.paths, b.paths) &&
    coversSame(a.when, b.when) &&
    coversSame(a.egress, b.egress)
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
