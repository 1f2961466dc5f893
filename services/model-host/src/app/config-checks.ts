import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { loadToolContracts } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { watchKeySet } from '@zerolatency/identity';
import { BundleHolder } from '@zerolatency/policy';
import { expectRevocations } from '@zerolatency/revocations';
import { resolveSecret } from '@zerolatency/service/config';
import { type ConfigChecks, expectFreePort, expectWritable } from '@zerolatency/service/lifecycle';
import { readRedisSecrets } from '@zerolatency/service/redis';
import { type TlsFiles, watchTls } from '@zerolatency/service/tls';
import { memoryFloor, signerFromPem, watchDocument } from '@zerolatency/signing';
import { openTokenVerifier } from '../adapters/jwks/token-verifier.ts';
import type { HostConfig } from '../config.ts';
import type { IssuerRules } from '../identity-settings.ts';
import { openKeys } from './open-keys.ts';
import { openModels } from './open-models.ts';
import { openPrices } from './open-prices.ts';
import { readSealing } from './open-turn-logs.ts';

/** Opening models asks no provider. */
const NOTHING_ELSE = {
  keys: { read: async () => undefined, isOwn: () => false },
  prices: { costOf: () => undefined },
  onTable() {},
};
const log = { info() {}, warn() {} };

export function checksOfHost(
  config: HostConfig,
  env: Readonly<Record<string, string | undefined>>,
): ConfigChecks {
  const { rpc, admin, identity, relay, policy, ledger, tools, models } = config;
  const { providers, redis, secrets, turnLog, postgres } = config;
  const tls = (files: TlsFiles | undefined) => files && watchTls(files, { log }).close();
  const keySet = async (file: string, setting: string) =>
    (await watchKeySet({ file, setting, log })).close();
  return {
    'rpc.port': () => expectFreePort(rpc),
    'rpc.tls': () => tls(rpc.tls),
    'admin.port': () => expectFreePort(admin),
    ...Object.fromEntries(identity.issuers.map((issuer) => issuerCheck(issuer, identity))),
    ...(relay && {
      'relay.tls': () => tls(relay.tls),
      'relay.deviceKeysFile': () => keySet(relay.deviceKeysFile, 'relay.deviceKeysFile'),
      ...(relay.revocations && {
        'relay.revocations': () => relay.revocations && expectRevocations(relay.revocations, log),
      }),
    }),
    // A host starts without Redis, so only what it reads itself is checked.
    ...(redis && { redis: () => readRedisSecrets(redis, env) }),
    turnLog: () => readSealing(turnLog.sealing, env),
    'policy.bundleFile': () => expectBundle(policy),
    ...(ledger.engine === 'files' && { 'ledger.dir': () => expectWritable(ledger.dir) }),
    ...(postgres && { postgres: () => expectPostgres(postgres, env) }),
    ...(ledger.export && { 'ledger.export': () => expectTarget(ledger.export) }),
    'ledger.key': async () =>
      signerFromPem(
        await resolveSecret(ledger.key, { env, readFile: (path) => readFile(path, 'utf8') }),
      ),
    'tools.contractsDir': () => tools.contractsDir === '' || loadToolContracts(tools.contractsDir),
    'providers.pricesFile': async () => (await openPrices(providers, log)).close(),
    'providers.vendors': async () => (await openKeys({ providers, secrets }, { env, log })).close(),
    models: async () => (await openModels({ models, providers }, { log, ...NOTHING_ELSE })).close(),
  };
}

/** A key set at a URL is read, as it is at the start. */
function issuerCheck(
  issuer: IssuerRules,
  { refresh, allowNetworks }: HostConfig['identity'],
): [setting: string, check: () => Promise<void>] {
  const setting = 'file' in issuer.keys ? issuer.keys.setting : `identity.issuers.${issuer.name}`;
  const check = async () => {
    const rules = { issuers: [issuer], refresh, allowNetworks };
    const verifier = await openTokenVerifier(rules, { log });
    verifier.close();
    const { status, detail } = verifier.status();
    if (status !== 'ok') throw new ZlError('identity.unavailable', detail ?? setting);
  };
  return [setting, check];
}

async function expectPostgres(
  settings: NonNullable<HostConfig['postgres']>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const { openPostgres } = await import('@zerolatency/service/postgres');
  const postgres = await openPostgres(settings, { env });
  await postgres.query('SELECT 1').finally(() => postgres.close());
}

async function expectBundle({ bundleFile: file, keysDir }: HostConfig['policy']): Promise<void> {
  if (file === '') return;
  const holder = new BundleHolder({ floor: memoryFloor() });
  const watch = await watchDocument({ holder, file, ...(keysDir !== '' && { keysDir }), log });
  watch.close();
  const refusal = watch.refusal();
  if (refusal !== undefined) throw refusal;
}

/** A receiver of notes is asked at the start and not before. */
async function expectTarget(target: HostConfig['ledger']['export']): Promise<void> {
  if (target === undefined) return;
  if (target.caFile !== '') await readFile(target.caFile);
  if (!target.to.startsWith('https://')) await access(target.to, constants.W_OK);
}
