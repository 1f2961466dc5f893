import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Alternative names that identify a workload or host; addresses do not. */
const NAMING = /^(?<type>URI|DNS):(?<name>\S+)$/;
const COMMON_NAME = /^CN=(?<name>.+)$/gm;

interface AlternativeName {
  readonly type: string;
  readonly name: string;
}

/** The URI and DNS names, in their order. */
export function alternativeNames(certificate: X509Certificate): AlternativeName[] {
  const alternatives = certificate.subjectAltName ?? '';
  // Node quotes a name with a comma, which could pass for two names.
  if (alternatives.includes('"')) return [];
  return alternatives.split(', ').flatMap((alternative) => {
    const { type, name } = NAMING.exec(alternative)?.groups ?? {};
    return type === undefined || name === undefined ? [] : [{ type, name }];
  });
}

/** The holder's name: the first URI or DNS name, or else the only common name. */
export function certificateName(certificate: X509Certificate): string | undefined {
  if (certificate.subjectAltName?.includes('"')) return undefined;
  const [first] = alternativeNames(certificate);
  if (first !== undefined) return first.name;
  const commonNames = [...certificate.subject.matchAll(COMMON_NAME)];
  return commonNames.length === 1 ? commonNames[0]?.groups?.name : undefined;
}

/** The name in the client certificate of a mutual TLS connection, if one was accepted. */
export function peerName(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const raw = socket.getPeerX509Certificate()?.raw;
  return raw === undefined ? undefined : certificateName(new X509Certificate(raw));
}
