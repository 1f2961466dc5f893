import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { RegistrarService } from '@zerolatency/proto/registrar';
import { readAuthorities, readText } from '../input.ts';
import type { Settings } from '../settings.ts';
import { connectionError } from './connection-error.ts';

const TIMEOUT_MS = 10_000;

export interface Invitation {
  readonly code: string;
  readonly expiresAtMs: number;
  readonly enrolUrl: string;
}

/** Makes a one-time code. Without a device id the device proposes a name. */
export function createInvitation(
  settings: Settings,
  { deviceId = '' }: { readonly deviceId?: string } = {},
): Promise<Invitation> {
  const { tenant } = settings.identity;
  return askRegistrar(settings, async (client, options) => {
    const made = await client.createCode({ tenant, deviceId }, options);
    const expiresAtMs = made.expiresAt === undefined ? 0 : timestampMs(made.expiresAt);
    return { code: made.code, expiresAtMs, enrolUrl: made.enrolUrl };
  });
}

export interface Revocation {
  readonly revokedAtMs: number;
  /** The version of the list that says so. */
  readonly version: number;
}

/** Revokes what the device was issued until now. */
export function revokeDevice(settings: Settings, deviceId: string): Promise<Revocation> {
  const { tenant } = settings.identity;
  return askRegistrar(settings, async (client, options) => {
    const { revokedAt, version } = await client.revoke({ tenant, deviceId }, options);
    return {
      revokedAtMs: revokedAt === undefined ? 0 : timestampMs(revokedAt),
      version: Number(version),
    };
  });
}

async function askRegistrar<T>(
  { registrar }: Settings,
  ask: (
    client: Client<typeof RegistrarService>,
    options: { readonly timeoutMs: number },
  ) => Promise<T>,
): Promise<T> {
  if (registrar === undefined) {
    throw new ZlError('config.invalid', 'zl.json names no registrar; "zl up" adds one');
  }
  const { url } = registrar;
  const [ca, cert, key] = await Promise.all([
    readAuthorities(registrar.caFile),
    readText(registrar.certFile),
    readText(registrar.keyFile),
  ]);
  const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca, cert, key } });
  try {
    return await ask(createClient(RegistrarService, transport), { timeoutMs: TIMEOUT_MS });
  } catch (reason) {
    const ids = { unreachable: 'registrar.unreachable', lost: 'registrar.unreachable' } as const;
    throw connectionError(reason, { url, ...ids });
  }
}
