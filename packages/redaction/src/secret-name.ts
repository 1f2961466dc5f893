/** Of names that end like this the value is a secret. Anchored, so it is tried at few places. */
const secret =
  /(?:passwo?r?d|passwd|passphrase|pwd|secret|token|credentials?|cookie|(?:api|access|private|account|shared|secret|signing|encryption)[_-]?key)$/i;

/** Cursors of listings and counts, which programs need. */
const harmless = /(?:page|next|continuation|sync|max|first|per|input|output)[_-]?token$/i;

export function isSecretName(name: string): boolean {
  return secret.test(name) && !harmless.test(name);
}
