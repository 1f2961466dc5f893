import { readFile } from 'node:fs/promises';
import { type JsonSchema, loadConfig } from '@zerolatency/service/config';
import { noInstallation } from './installation/layout.ts';

/** Content of `zl.json`, written by `zl up` or by hand. */
export interface Settings {
  readonly host: { readonly url: string; readonly adminUrl: string; readonly caFile: string };
  readonly relay: {
    readonly url: string;
    readonly adminUrl: string;
    readonly caFile: string;
    readonly certFile: string;
    readonly keyFile: string;
  };
  /** An installation of release 0.1 has none until the next `zl up`. */
  readonly registrar?: Settings['relay'];
  /** The relays beside the first, and the Redis of all of them. */
  readonly pool?: {
    readonly redis: string;
    readonly relays: readonly {
      readonly name: string;
      readonly url: string;
      readonly adminUrl: string;
    }[];
  };
  readonly bridge: { readonly controlSocket: string };
  readonly identity:
    | { readonly tokenFile: string; readonly tenant: string }
    | {
        readonly issuerKeyFile: string;
        readonly issuer: string;
        readonly audience: string;
        readonly tenant: string;
        readonly user: string;
        readonly roles: readonly string[];
      };
  readonly deviceId: string;
}

const TEXT = { type: 'string', minLength: 1 } as const;

function object(
  properties: Record<string, JsonSchema>,
  optional: Record<string, JsonSchema> = {},
): JsonSchema {
  return {
    type: 'object',
    additionalProperties: false,
    required: Object.keys(properties),
    properties: { ...properties, ...optional },
  };
}

const OPERATED = object({ url: TEXT, adminUrl: TEXT, caFile: TEXT, certFile: TEXT, keyFile: TEXT });

const REQUIRED = {
  host: object({ url: TEXT, adminUrl: TEXT, caFile: TEXT }),
  relay: OPERATED,
  bridge: object({ controlSocket: TEXT }),
  identity: {
    oneOf: [
      object({ tokenFile: TEXT, tenant: TEXT }),
      object({
        issuerKeyFile: TEXT,
        issuer: TEXT,
        audience: TEXT,
        tenant: TEXT,
        user: TEXT,
        roles: { type: 'array', items: TEXT },
      }),
    ],
  },
  deviceId: { type: 'string' },
} satisfies Record<string, JsonSchema>;

const POOL = object({
  redis: TEXT,
  relays: { type: 'array', items: object({ name: TEXT, url: TEXT, adminUrl: TEXT }) },
});

const SCHEMA = object(REQUIRED, { registrar: OPERATED, pool: POOL });

export async function readSettings(path: string): Promise<Settings> {
  const content = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw noInstallation(path, cause);
  });
  return loadConfig<Settings>(
    { schema: SCHEMA, envPrefix: 'ZL_CLI' },
    { file: { path, text: content }, env: {} },
  );
}
