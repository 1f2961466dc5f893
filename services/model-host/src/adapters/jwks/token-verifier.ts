import { createHash } from 'node:crypto';
import { type ErrorId, fromUnknown, ZlError } from '@zerolatency/errors';
import {
  type KeyRing,
  type KeySetOptions,
  type ProvenIdentity,
  verifyAccessToken,
  watchKeySet,
} from '@zerolatency/identity';
import { Egress } from '@zerolatency/service/egress';
import type { ComponentStatus } from '@zerolatency/service/lifecycle';
import { decodeJwt, errors } from 'jose';
import { LRUCache } from 'lru-cache';
import type { IssuerRules } from '../../identity-settings.ts';
import { type RefreshTimes, RemoteKeys } from './remote-keys.ts';

export interface TokenRules {
  readonly issuers: readonly IssuerRules[];
  readonly refresh: RefreshTimes;
  readonly allowNetworks: readonly string[];
}

export interface TokenVerifierOptions extends Pick<KeySetOptions, 'log' | 'pollMs'> {
  readonly nowMs?: () => number;
  /** The key set of this issuer was read from its URL, or why not. */
  readonly onRead?: (issuer: string, result: ErrorId | 'none') => void;
}

export interface TokenVerifier {
  /** @throws ZlError identity.invalid, which states only what is wrong with the token, or identity.unavailable. */
  verify(token: string): Promise<ProvenIdentity>;
  /** Reads all key sets again now. */
  check(): Promise<void>;
  status(): ComponentStatus;
  close(): void;
}

/** The keys of one issuer, wherever they are read. */
interface IssuerKeys {
  ring(): KeyRing | undefined;
  check(): Promise<void>;
  /** Returns whether the issuer was asked. */
  checkForNew(): Promise<boolean>;
  unavailable(): ZlError;
  status(): ComponentStatus;
  close(): void;
}

interface Issuer {
  readonly rules: IssuerRules;
  readonly keys: IssuerKeys;
}

const MAX_TOKEN_CHARS = 16 * 1024;
const MAX_VERIFIED_TOKENS = 10_000;

/** Verifies access tokens of some issuers, and remembers those it has verified. */
export async function openTokenVerifier(
  rules: TokenRules,
  { nowMs = Date.now, ...options }: TokenVerifierOptions,
): Promise<TokenVerifier> {
  const issuers = await Promise.all(rules.issuers.map((each) => openIssuer(each, rules, options)));
  const byText = new Map(issuers.map((issuer) => [issuer.rules.issuer, issuer]));
  const verified = new LRUCache<string, ProvenIdentity>({ max: MAX_VERIFIED_TOKENS });
  return {
    check: async () => void (await Promise.all(issuers.map(({ keys }) => keys.check()))),
    status: () => statusOf(issuers),
    close() {
      for (const { keys } of issuers) keys.close();
    },
    verify: async (token) => {
      if (token.length > MAX_TOKEN_CHARS) throw invalid('it is too long');
      const id = digest(token);
      const known = verified.get(id);
      if (known?.withdrawn?.aborted === false && known.expiresAtMs > nowMs()) return known;
      const issuer = byText.get(issuerOf(token));
      if (issuer === undefined) throw invalid('its claim "iss" does not fit');
      const proven = await verifyWith(issuer, token, nowMs());
      verified.set(id, proven);
      return proven;
    },
  };
}

async function openIssuer(
  rules: IssuerRules,
  { refresh, allowNetworks }: TokenRules,
  { log, pollMs, onRead = () => {} }: Omit<TokenVerifierOptions, 'nowMs'>,
): Promise<Issuer> {
  const { name, keys: source } = rules;
  if ('url' in source) {
    const egress = new Egress(allowNetworks);
    const keys = new RemoteKeys({
      ...{ source, egress, refresh, log },
      onRead: (result) => onRead(name, result),
    });
    await keys.check();
    return { rules, keys };
  }
  const keySet = await watchKeySet({ ...source, log, ...(pollMs !== undefined && { pollMs }) });
  const unavailable = () => new ZlError('identity.unavailable', `${source.file} is unusable`);
  return { rules, keys: { ...keySet, checkForNew: async () => false, unavailable } };
}

/** A key that is unknown may be newer than our copy of the set. */
async function verifyWith(
  { rules, keys }: Issuer,
  token: string,
  nowMs: number,
): Promise<ProvenIdentity> {
  const attempt = async () => {
    const ring = keys.ring();
    if (ring === undefined) throw keys.unavailable();
    const result = await verifyAccessToken(token, ring.select, { ...rules, nowMs });
    if (result.error !== undefined) throw invalid(result.error, result.cause);
    const { value, key } = result;
    return { ...value, ...(key && { withdrawn: await ring.withdrawalOf(key) }) };
  };
  try {
    return await attempt();
  } catch (reason) {
    const { cause } = fromUnknown(reason);
    if (!(cause instanceof errors.JWKSNoMatchingKey) || !(await keys.checkForNew())) throw reason;
    return attempt();
  }
}

function issuerOf(token: string): string {
  try {
    return decodeJwt(token).iss ?? '';
  } catch (cause) {
    throw invalid('it cannot be read', cause);
  }
}

function statusOf(issuers: readonly Issuer[]): ComponentStatus {
  const reports = issuers.map(({ rules, keys }) => ({ name: rules.name, ...keys.status() }));
  const isDown = reports.every(({ status }) => status === 'down');
  const isOk = reports.every(({ status }) => status === 'ok');
  const detail = reports.map(({ name, detail: each }) => `${name}: ${each}`).join('; ');
  return { status: isOk ? 'ok' : isDown ? 'down' : 'degraded', detail };
}

/** The token itself is a secret and stays out of long-lived memory. */
function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}

function invalid(why: string, cause?: unknown): ZlError {
  return new ZlError('identity.invalid', `the access token is refused: ${why}`, { cause });
}
