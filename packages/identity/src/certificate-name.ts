import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Alternative names that identify a workload or host; addresses do not. */
const NAMING = /^(?:URI|DNS):(?<name>\S+)$/;
const COMMON_NAME = /^CN=(?<name>.+)$/gm;

/** The holder's name: the first URI or DNS name, or else the only common name. */
export function certificateName(certificate: X509Certificate): string | undefined {
  const alternatives = certificate.subjectAltName ?? '';
  // Node quotes a name with a comma, which could pass for two names.
  if (alternatives.includes('"')) return undefined;
  for (const alternative of alternatives.split(', ')) {
    const name = NAMING.exec(alternative)?.groups?.name;
    if (name !== undefined) return name;
  }
  const commonNames = [...certificate.subject.matchAll(COMMON_NAME)];
  return commonNames.length === 1 ? commonNames[0]?.groups?.name : undefined;
}

/** The name in the client certificate of a mutual TLS connection, if one was accepted. */
export function peerName(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const raw = socket.getPeerX509Certificate()?.raw;
  return raw === undefined ? undefined : certificateName(new X509Certificate(raw));
}
