import { timestampMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
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
export async function createInvitation(
  { registrar, identity: { tenant } }: Settings,
  { deviceId = '' }: { readonly deviceId?: string } = {},
): Promise<Invitation> {
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
    const client = createClient(RegistrarService, transport);
    const made = await client.createCode({ tenant, deviceId }, { timeoutMs: TIMEOUT_MS });
    const expiresAtMs = made.expiresAt === undefined ? 0 : timestampMs(made.expiresAt);
    return { code: made.code, expiresAtMs, enrolUrl: made.enrolUrl };
  } catch (reason) {
    const ids = { unreachable: 'registrar.unreachable', lost: 'registrar.unreachable' } as const;
    throw connectionError(reason, { url, ...ids });
  }
}
