import { compileSchema } from '@zerolatency/contracts';
import {
  DocumentHolder,
  type DocumentHolderOptions,
  type DocumentKind,
  type DocumentState,
} from '@zerolatency/signing';
import { validRange } from 'semver';
import type { Bundle, Rule } from '../../../contracts/gen/bundle.d.ts';
import schema from '../../../contracts/policy/bundle.schema.json' with { type: 'json' };
import {
  type Decision,
  decide,
  type PolicyRequest,
  restrictedFolders,
  unavailable,
} from './decide.ts';
import { isTimeZone } from './hours.ts';
import { parseAbsolutePath } from './path-scope.ts';

export type { Bundle, Rule } from '../../../contracts/gen/bundle.d.ts';
export type Caps = NonNullable<Rule['caps']>;

/** Bounds how long an attacker who withholds new bundles can keep an old one in force. */
const MAX_LIFETIME_MS = 31 * 24 * 60 * 60 * 1000;

const validator = compileSchema<Bundle>(schema, 'built-in');

/** The kind of signed document that decides which tool calls may happen. */
export const POLICY_BUNDLE: DocumentKind<Bundle> = {
  name: 'policy bundle',
  withoutIt: 'tools are denied',
  logField: 'policy',
  errorId: 'policy.invalid',
  payloadType: 'application/vnd.zerolatency.policy.v1+json',
  schema: 'zerolatency.policy/v2',
  check: checkBundle,
  lifetimeOf: ({ expiresAt, graceMs = 0 }) => ({ expiresAtMs: Date.parse(expiresAt), graceMs }),
};

/** Checks the shape, and what a schema cannot express. */
function checkBundle(value: unknown) {
  const shape = validator.validate(value);
  if (shape.error !== undefined) return { fault: `${shape.error.field}: ${shape.error.message}` };
  const content = shape.value;
  const fault = headFault(content) ?? versionFault(content) ?? firstRuleFault(content.rules);
  return fault === undefined ? { content } : { fault };
}

function headFault(bundle: Bundle): string | undefined {
  const lifetimeMs = Date.parse(bundle.expiresAt) - Date.parse(bundle.issuedAt);
  if (Number.isNaN(lifetimeMs)) return 'issuedAt or expiresAt is not a date';
  if (lifetimeMs <= 0) return 'expiresAt is not after issuedAt';
  if (lifetimeMs > MAX_LIFETIME_MS) return 'expiresAt is more than 31 days after issuedAt';
  return undefined;
}

function versionFault({ schema, rules }: Bundle): string | undefined {
  if (schema === 'zerolatency.policy/v2') return undefined;
  const later = rules.find((rule) => 'hasEffects' in rule || 'inSandbox' in rule);
  return (
    later && `rule ${later.id}: hasEffects and inSandbox need the schema zerolatency.policy/v2`
  );
}

function firstRuleFault(rules: readonly Rule[]): string | undefined {
  const ids = new Set<string>();
  for (const rule of rules) {
    if (ids.has(rule.id)) return `rule ${rule.id}: another rule has the same id`;
    ids.add(rule.id);
    const fault = effectFault(rule) ?? constraintFault(rule);
    if (fault !== undefined) return `rule ${rule.id}: ${fault}`;
  }
  return undefined;
}

function effectFault({ effect, caps, egress, approvers, duringGrace }: Rule): string | undefined {
  if (effect === 'deny' && caps !== undefined) return 'a deny rule cannot have caps';
  if (effect === 'deny' && egress !== undefined) return 'a deny rule cannot have egress';
  if (effect === 'escalate' && approvers === undefined) return 'an escalate rule needs approvers';
  if (effect !== 'escalate' && approvers !== undefined)
    return `approvers is for escalate rules only`;
  if (effect !== 'allow' && duringGrace !== undefined) {
    return `duringGrace is for allow rules; ${effect} always holds in grace`;
  }
  return undefined;
}

function constraintFault({ versions, hours, paths }: Rule): string | undefined {
  if (versions !== undefined && validRange(versions) === null) {
    return `versions: ${JSON.stringify(versions)} is not a semver range`;
  }
  if (hours !== undefined && hours.from === hours.to) return 'hours: from and to are the same';
  if (hours?.timeZone !== undefined && !isTimeZone(hours.timeZone)) {
    return `hours: ${JSON.stringify(hours.timeZone)} is not a time zone`;
  }
  const odd = paths?.within.find((path) => parseAbsolutePath(path) === undefined);
  return odd === undefined
    ? undefined
    : `paths: ${JSON.stringify(odd)} is not a plain absolute path`;
}

export type BundleState = DocumentState<Bundle>;

/** `policyId` and `policyDigest` are empty without a bundle. */
export type HeldDecision = Decision & { readonly policyId: string; readonly policyDigest: string };

/** Decides with the bundle in force. Without one, every tool is denied and chats go on. */
export class BundleHolder extends DocumentHolder<Bundle> {
  constructor(options: DocumentHolderOptions) {
    super(POLICY_BUNDLE, options);
  }

  decide(request: PolicyRequest): HeldDecision {
    const current = this.note(request.nowMs);
    if (current.state === 'none') {
      return { ...unavailable('there is no policy bundle'), policyId: '', policyDigest: '' };
    }
    const { state, content, name: policyId, digest: policyDigest } = current;
    return { ...decide(content, request, state), policyId, policyDigest };
  }

  /** The folders to which the bundle in force restricts a tool's paths. */
  restrictedFolders(tool: string, nowMs: number): readonly string[] {
    const current = this.current(nowMs);
    return current.state === 'none' ? [] : restrictedFolders(current.content, tool);
  }
}

export interface BundleFigures {
  /** From 1 on; 0 without a bundle. */
  readonly version: number;
  /** NaN without a bundle. */
  readonly ageSeconds: number;
  /** Negative once expired; 0 without a bundle, so that an alert on little time left fires too. */
  readonly expiresSeconds: number;
}

/** What gauges report about the bundle in force. */
export function bundleFigures(held: BundleState, nowMs: number): BundleFigures {
  if (held.state === 'none') return { version: 0, ageSeconds: Number.NaN, expiresSeconds: 0 };
  const { version, issuedAt } = held.content;
  return {
    version,
    ageSeconds: (nowMs - Date.parse(issuedAt)) / 1000,
    expiresSeconds: (held.expiresAtMs - nowMs) / 1000,
  };
}
