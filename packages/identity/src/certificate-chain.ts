import type { X509Certificate } from 'node:crypto';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/**
 * Why the chain does not prove a client that one of the roots vouches for;
 * undefined when it does. Each certificate of the chain must have issued the
 * one before it. Path length and name constraints are not looked at (Node
 * does not show them); the caller bounds the length of the chain.
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

/** A peer may send the root too; then it has to be the very one we know. */
function isAnchoredBy(certificate: X509Certificate, root: X509Certificate): boolean {
  return certificate.raw.equals(root.raw) || (root.ca && isIssuedBy(certificate, root));
}

function mayIssueClients(certificate: X509Certificate): boolean {
  // Without the extension an authority is not limited; with it, it is.
  const limits = certificate.keyUsage;
  return certificate.ca && (limits === undefined || limits.includes(CLIENT_AUTH));
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValidAt(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs < certificate.validToDate.getTime();
}
