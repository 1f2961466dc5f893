/** Of names that end like this the value is a secret. Anchored, so it is tried at few places. */
const secret =
  /(?:password|passwd|passphrase|pwd|secret|token|credentials?|cookie|(?:api|access|private|account|shared|secret|signing|encryption)[_-]?key)$/i;

/** Cursors of listings and counts, which programs need. */
const harmless = /(?:page|next|continuation|sync|max|first|per|input|output)[_-]?token$/i;

/** The working directory, in a listing of the environment. */
const workingDirectory = /(?:^|[^A-Za-z_])(?:OLD)?PWD$/;

export function isSecretName(name: string): boolean {
  return secret.test(name) && !harmless.test(name) && !workingDirectory.test(name);
}
