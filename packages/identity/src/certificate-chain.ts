import type { X509Certificate } from 'node:crypto';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/**
 * Returns why the chain does not prove a client of one of the roots, or
 * undefined when it does. Each certificate must have issued the one before it.
 * Path length and name constraints are not checked, because Node does not
 * expose them; the caller bounds the length of the chain.
 */
export function clientChainFault(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): string | undefined {
  const [leaf, ...intermediates] = chain;
  if (leaf === undefined) return 'no certificate';
  if (leaf.ca) return 'a certificate authority cannot be a client';
  if (!leaf.keyUsage?.includes(CLIENT_AUTH)) return 'not a client certificate';
  for (const [index, certificate] of chain.entries()) {
    if (!isValidAt(certificate, nowMs)) return 'certificate expired or not yet valid';
    const issuer = chain[index + 1];
    if (issuer !== undefined && !isIssuedBy(certificate, issuer)) return 'broken chain';
  }
  if (intermediates.some((issuer) => !mayIssueClients(issuer))) {
    return 'an intermediate may not issue client certificates';
  }
  const top = chain[chain.length - 1] ?? leaf;
  const anchored = roots.some((root) => isValidAt(root, nowMs) && isAnchoredBy(top, root));
  return anchored ? undefined : 'not issued by a known authority';
}

/** A peer may also send the root, which must then be one of ours. */
function isAnchoredBy(certificate: X509Certificate, root: X509Certificate): boolean {
  return certificate.raw.equals(root.raw) || (root.ca && isIssuedBy(certificate, root));
}

function mayIssueClients(certificate: X509Certificate): boolean {
  // Without the extension, any usage is allowed.
  const limits = certificate.keyUsage;
  return certificate.ca && (limits === undefined || limits.includes(CLIENT_AUTH));
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValidAt(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs < certificate.validToDate.getTime();
}
