import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { validRange } from 'semver';
import schema from '../../../contracts/policy/bundle.schema.json' with { type: 'json' };
import type { Bundle, Rule } from './bundle.ts';
import { isTimeZone } from './hours.ts';
import { parseAbsolutePath } from './path-scope.ts';

/** Bounds how long an attacker who holds back new bundles can keep an old one alive. */
const MAX_LIFETIME_MS = 31 * 24 * 60 * 60 * 1000;

const validator = compileSchema<Bundle>(schema, 'contract');

/** Whether a value is a bundle that can be decided by: its shape, and what a schema cannot say. */
export function checkBundle(value: unknown): { bundle: Bundle } | { error: ZlError } {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return invalid(`${shape.error.field}: ${shape.error.message}`);
  const bundle = shape.value;
  const fault = headFault(bundle) ?? firstRuleFault(bundle.rules);
  return fault === undefined ? { bundle } : invalid(fault);
}

function headFault(bundle: Bundle): string | undefined {
  const lifetimeMs = Date.parse(bundle.expiresAt) - Date.parse(bundle.issuedAt);
  if (Number.isNaN(lifetimeMs)) return 'issuedAt or expiresAt is no date';
  if (lifetimeMs <= 0) return 'expiresAt is not after issuedAt';
  if (lifetimeMs > MAX_LIFETIME_MS) return 'expiresAt is more than 31 days after issuedAt';
  return undefined;
}

function firstRuleFault(rules: readonly Rule[]): string | undefined {
  const ids = new Set<string>();
  for (const rule of rules) {
    if (ids.has(rule.id)) return `rule ${rule.id}: another rule has the same id`;
    ids.add(rule.id);
    const fault = ruleFault(rule);
    if (fault !== undefined) return `rule ${rule.id}: ${fault}`;
  }
  return undefined;
}

function ruleFault({ effect, versions, hours, paths, caps, duringGrace }: Rule) {
  if (effect === 'deny' && caps !== undefined) return 'a deny rule has no use for caps';
  if (effect === 'deny' && duringGrace !== undefined) return 'a deny rule always holds in grace';
  if (versions !== undefined && validRange(versions) === null) {
    return `versions: ${JSON.stringify(versions)} is no semver range`;
  }
  if (hours !== undefined && hours.from === hours.to) return 'hours: from and to are the same';
  if (hours?.timeZone !== undefined && !isTimeZone(hours.timeZone)) {
    return `hours: ${JSON.stringify(hours.timeZone)} is no time zone`;
  }
  const odd = paths?.within.find((path) => parseAbsolutePath(path) === undefined);
  return odd === undefined
    ? undefined
    : `paths: ${JSON.stringify(odd)} is not a plain absolute path`;
}

function invalid(why: string): { error: ZlError } {
  return { error: new ZlError('policy.invalid', `not a policy bundle: ${why}`) };
}
