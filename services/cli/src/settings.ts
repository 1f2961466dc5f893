import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { type JsonSchema, loadConfig } from '@zerolatency/service/config';

/** What `zl` must know to talk to an installation: `zl.json`, written by `zl up` or by hand. */
export interface Settings {
  readonly host: { readonly url: string; readonly adminUrl: string; readonly caFile: string };
  readonly relay: {
    readonly url: string;
    readonly adminUrl: string;
    readonly caFile: string;
    readonly certFile: string;
    readonly keyFile: string;
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

const text = { type: 'string', minLength: 1 } as const;

function object(properties: Record<string, JsonSchema>): JsonSchema {
  return {
    type: 'object',
    additionalProperties: false,
    required: Object.keys(properties),
    properties,
  };
}

const schema = object({
  host: object({ url: text, adminUrl: text, caFile: text }),
  relay: object({ url: text, adminUrl: text, caFile: text, certFile: text, keyFile: text }),
  bridge: object({ controlSocket: text }),
  identity: {
    oneOf: [
      object({ tokenFile: text, tenant: text }),
      object({
        issuerKeyFile: text,
        issuer: text,
        audience: text,
        tenant: text,
        user: text,
        roles: { type: 'array', items: text },
      }),
    ],
  },
  deviceId: { type: 'string' },
});

export async function readSettings(path: string): Promise<Settings> {
  const content = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ZlError(
      'config.invalid',
      `no installation here: ${path} cannot be read; run "make up"`,
      {
        cause,
      },
    );
  });
  return loadConfig<Settings>(
    { schema, envPrefix: 'ZL_CLI' },
    { file: { path, text: content }, env: {} },
  );
}
