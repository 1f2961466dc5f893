import { ZlError } from '@zerolatency/errors';
import { type AccessTokenRules, certificateRule } from '@zerolatency/identity';
import { parseDurationMs } from '@zerolatency/service/config';
import type { HostSettings } from '../../../contracts/gen/model-host.d.ts';

type IdentitySettings = HostSettings['identity'];
type IssuerSettings = IdentitySettings['issuers'][string];

/** Where the keys of an issuer are read. */
export type KeySource =
  | { readonly file: string; readonly setting: string }
  | {
      readonly url: URL;
      /** The URL is that of a discovery document, which has to name this issuer and the key set. */
      readonly discovers: string | undefined;
      readonly caFile: string;
    };

export interface IssuerRules
  extends Pick<AccessTokenRules, 'issuer' | 'audience' | 'algorithms' | 'claims' | 'tenant'> {
  /** For logs and metrics. */
  readonly name: string;
  readonly keys: KeySource;
}

/** The metric label of the issuer that identity.issuer names. */
const UNNAMED = 'default';
const ISSUER_NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

export function compileIdentity(settings: IdentitySettings) {
  const { jwksFile, issuer, audience, keySets, allowNetworks, certificates } = settings;
  const issuers = Object.entries(settings.issuers).map(([name, each]) => compileIssuer(name, each));
  if (jwksFile !== undefined && issuer !== undefined && audience !== undefined) {
    const keys = { file: jwksFile, setting: 'identity.jwksFile' };
    issuers.unshift({ name: UNNAMED, issuer, audience, keys });
  } else if ((jwksFile ?? issuer ?? audience) !== undefined) {
    throw invalid('identity: jwksFile, issuer and audience belong together; one is missing');
  }
  if (issuers.length === 0 && certificates.length === 0) {
    throw invalid(
      'identity.jwksFile is missing, and identity.issuers and identity.certificates are empty',
    );
  }
  const twice = issuers.find(
    (each, at) => issuers.findIndex((other) => other.issuer === each.issuer) < at,
  );
  if (twice !== undefined)
    throw invalid(`identity.issuers.${twice.name}: another entry has the same issuer`);
  return {
    issuers,
    refresh: compileRefresh(keySets),
    allowNetworks,
    certificates: certificates.map((rule) => certificateRule(rule)),
  };
}

function compileRefresh({ minRefresh, maxRefresh, maxAge }: IdentitySettings['keySets']) {
  const refresh = {
    minMs: parseDurationMs(minRefresh),
    maxMs: parseDurationMs(maxRefresh),
    maxAgeMs: parseDurationMs(maxAge),
  };
  const { minMs, maxMs, maxAgeMs } = refresh;
  if (minMs > 0 && minMs <= maxMs && maxMs <= maxAgeMs) return refresh;
  throw invalid(
    'identity.keySets: minRefresh must be above 0 and at most maxRefresh, and maxRefresh at most maxAge',
  );
}

function compileIssuer(name: string, settings: IssuerSettings): IssuerRules {
  const at = `identity.issuers.${name}`;
  if (!ISSUER_NAME.test(name) || name === UNNAMED) {
    throw invalid(
      `${at}: the name has other characters than a-z, 0-9, "_" and "-", or is "${UNNAMED}"`,
    );
  }
  const { issuer, audience, algorithms, claims, tenant } = settings;
  return { name, issuer, audience, algorithms, claims, tenant, keys: compileKeys(at, settings) };
}

function compileKeys(at: string, settings: IssuerSettings): KeySource {
  const { issuer, jwksFile, jwksUrl, discovery, caFile } = settings;
  const given = [jwksFile !== undefined, jwksUrl !== undefined, discovery].filter(Boolean).length;
  if (given !== 1) throw invalid(`${at} needs exactly one of jwksFile, jwksUrl and discovery`);
  if (jwksFile !== undefined) return { file: jwksFile, setting: `${at}.jwksFile` };
  const text = jwksUrl ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' || url.hash + url.username !== '') {
    throw invalid(`${at}: ${text} is not an https:// URL; discovery derives it from issuer`);
  }
  return { url, discovers: discovery ? issuer : undefined, caFile };
}

function invalid(message: string): ZlError {
  return new ZlError('config.invalid', message);
}
