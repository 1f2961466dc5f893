import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KeyTable } from './keys.ts';

const PROVIDERS = ['claude', 'gpt', 'local', 'constructor'];
const TENANTS = ['north', 'south', '__proto__', 'toString'];

const entry = fc.record({
  keys: fc.uniqueArray(fc.constantFrom(...PROVIDERS), { maxLength: 4 }),
  otherProviders: fc.constantFrom('refused' as const, 'shared' as const, undefined),
});

test("[PROV-04] no tenant gets another tenant's key, nor the shared one beside its own", () => {
  const tables = fc.array(
    fc.uniqueArray(fc.tuple(fc.constantFrom(...TENANTS), entry), {
      selector: ([tenant]) => tenant,
    }),
    { maxLength: 4 },
  );
  const shared = fc.subarray(PROVIDERS);
  fc.assert(
    fc.property(shared, tables, (withKey, changes) => {
      const table = new KeyTable(
        new Map(
          PROVIDERS.map((name) => [name, withKey.includes(name) ? { env: name } : undefined]),
        ),
      );
      for (const entries of changes) {
        const tenants = Object.fromEntries(
          entries.map(([tenant, { keys, otherProviders }]) => [
            tenant,
            {
              keys: Object.fromEntries(keys.map((name) => [name, { file: `${tenant} ${name}` }])),
              ...(otherProviders && { otherProviders }),
            },
          ]),
        );
        table.use({ schema: 'zerolatency.tenant-keys/v1', tenants });
        for (const tenant of TENANTS) {
          const own = new Map(entries).get(tenant);
          for (const provider of PROVIDERS) {
            const found = findIn(table, { tenant, provider });
            const sharedKey = withKey.includes(provider) ? { env: provider } : undefined;
            if (own === undefined) assert.deepEqual(found, sharedKey);
            else if (own.keys.includes(provider)) {
              assert.deepEqual(found, { file: `${tenant} ${provider}` });
              assert.ok(table.isOwn({ tenant, provider }));
            } else if (own.otherProviders === 'shared') assert.deepEqual(found, sharedKey);
            else assert.equal(found, sharedKey === undefined ? undefined : 'provider.no_key');
          }
        }
      }
    }),
  );
});

function findIn(table: KeyTable, request: Parameters<KeyTable['find']>[0]): unknown {
  try {
    return table.find(request);
  } catch (reason) {
    return Reflect.get(Object(reason), 'id');
  }
}

test('[PROV-04] a table that names an unknown provider is refused whole', () => {
  const table = new KeyTable(new Map([['claude', { env: 'SHARED' }]]));
  const tenants = (provider: string) => ({
    north: { keys: { claude: { env: 'OWN' } } },
    south: { keys: { [provider]: { env: 'OTHER' } } },
  });
  const schema = 'zerolatency.tenant-keys/v1';
  assert.throws(() => table.use({ schema, tenants: tenants('cluade') }), {
    id: 'config.invalid',
    message: 'tenants.south.keys names "cluade", which is not in providers.vendors',
  });
  assert.deepEqual(table.find({ provider: 'claude', tenant: 'north' }), { env: 'SHARED' });
});
