import { constants } from 'node:crypto';
import type { Server, TlsOptions } from 'node:tls';
import type { TlsMaterial } from './tls-material.ts';

const MIN_VERSION = 'TLSv1.2';

interface ClientDemand {
  /** Refuses clients without a certificate of our authority. */
  readonly requireClient: boolean;
  /** Asks for a certificate, and lets the caller decide about a missing or invalid one. */
  readonly askClient?: boolean;
}

export function serverTlsOptions(material: TlsMaterial, demand: ClientDemand): TlsOptions {
  const { requireClient, askClient = false } = demand;
  return {
    ...contextOptions(material, askClient),
    ...{ requestCert: requireClient || askClient, rejectUnauthorized: requireClient },
  };
}

export function clientTlsOptions({ cert, key, ca }: TlsMaterial) {
  return { cert, key, ca, minVersion: MIN_VERSION } as const;
}

/** New connections use the new material; those that are open stay. */
export function reloadServerTls(
  server: Pick<Server, 'setSecureContext'>,
  material: TlsMaterial,
  { askClient = false }: Pick<ClientDemand, 'askClient'> = {},
): void {
  server.setSecureContext(contextOptions(material, askClient));
}

/** A resumed TLS session has no chain, which the caller would verify against the authority of now. */
function contextOptions(material: TlsMaterial, askClient: boolean) {
  return {
    ...clientTlsOptions(material),
    ...(askClient && { secureOptions: constants.SSL_OP_NO_TICKET }),
  };
}
