import type { Server, TlsOptions } from 'node:tls';
import type { TlsMaterial } from './tls-material.ts';

const MIN_VERSION = 'TLSv1.2';

export function serverTlsOptions(
  material: TlsMaterial,
  { requireClient }: { readonly requireClient: boolean },
): TlsOptions {
  return { ...clientTlsOptions(material), ...demand(requireClient) };
}

export function clientTlsOptions({ cert, key, ca }: TlsMaterial) {
  return { cert, key, ca, minVersion: MIN_VERSION } as const;
}

/** New connections use the new material; those that are open stay. */
export function reloadServerTls(
  server: Pick<Server, 'setSecureContext'>,
  material: TlsMaterial,
): void {
  server.setSecureContext(clientTlsOptions(material));
}

function demand(requireClient: boolean) {
  return { requestCert: requireClient, rejectUnauthorized: requireClient };
}
