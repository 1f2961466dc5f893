import type { X509Certificate } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { alternativeNames } from './certificate-name.ts';
import { parseName } from './names.ts';
import type { Identity } from './principal.ts';

export interface CertificateRuleSettings {
  /** Type and pattern, such as URI:spiffe://prod.example/{tenant}/bff/{user} or DNS:*.clients.example. */
  readonly name: string;
  readonly tenant?: string;
  readonly user?: string;
  readonly roles: readonly string[];
}

/** Whom an alternative name such as URI:spiffe://prod.example/bff stands for; undefined where it does not fit. */
export type CertificateRule = (alternativeName: string) => Identity | undefined;

/** The first rule that fits counts, and of a certificate with several names the first that fits it. */
export function certificateIdentity(
  certificate: X509Certificate,
  rules: readonly CertificateRule[],
): Identity | undefined {
  const names = alternativeNames(certificate).map(({ type, name }) => `${type}:${name}`);
  for (const rule of rules) {
    for (const name of names) {
      const identity = rule(name);
      if (identity !== undefined) return identity;
    }
  }
  return undefined;
}

/** Characters with a meaning in regular expressions. */
const SPECIAL = /[.*+?^${}()|[\]\\]/g;
const PLACEHOLDER = /\*|\{(?:tenant|user)\}/g;

/** @throws ZlError config.invalid for a rule without a tenant, or with two tenants or users. */
export function certificateRule(settings: CertificateRuleSettings): CertificateRule {
  const { name, tenant, user, roles } = settings;
  for (const [kind, given] of Object.entries({ tenant, user })) {
    const captures = name.split(`{${kind}}`).length - 1;
    if (captures + (given === undefined ? 0 : 1) > 1)
      throw invalid(name, `names the ${kind} twice`);
    if (kind === 'tenant' && captures === 0 && given === undefined) {
      throw invalid(name, 'names no tenant; add tenant, or {tenant} to its name');
    }
  }
  const pattern = compilePattern(name);
  return (alternativeName) => {
    const captured = pattern.exec(normalised(alternativeName));
    if (captured === null) return undefined;
    const own = alternativeName.slice(alternativeName.indexOf(':') + 1);
    const names = {
      tenant: parseName('tenant', tenant ?? captured.groups?.tenant).value,
      user: parseName('user', user ?? captured.groups?.user ?? own).value,
    };
    if (names.tenant === undefined || names.user === undefined) return undefined;
    return { tenant: names.tenant, user: names.user, roles };
  };
}

function compilePattern(name: string): RegExp {
  const part = name.startsWith('URI:') ? '[^/]+' : '[^.]+';
  const literals = normalised(name)
    .split(PLACEHOLDER)
    .map((text) => text.replaceAll(SPECIAL, '\\$&'));
  const placeholders = name.match(PLACEHOLDER) ?? [];
  const source = literals.map((literal, at) => {
    const [, kind] = /^\{(\w+)\}$/.exec(placeholders[at] ?? '') ?? [];
    if (at === placeholders.length) return literal;
    return kind === undefined ? `${literal}${part}` : `${literal}(?<${kind}>${part})`;
  });
  return new RegExp(`^${source.join('')}$`);
}

/** DNS names have no case; URIs do. */
function normalised(name: string): string {
  return name.startsWith('DNS:') ? `DNS:${name.slice(4).toLowerCase()}` : name;
}

function invalid(name: string, why: string): ZlError {
  return new ZlError('config.invalid', `identity.certificates: the rule for ${name} ${why}`);
}
