export const allDetectors = [
  'private-key',
  'jwt',
  'authorization',
  'anthropic-key',
  'openai-key',
  'aws-key',
  'google-key',
  'github-token',
  'gitlab-token',
  'slack-token',
  'stripe-key',
  'huggingface-token',
  'npm-token',
  'url-password',
  'secret',
  'card',
  'email',
] as const;

export type DetectorName = (typeof allDetectors)[number];

/**
 * Without e-mail: any word could begin an address, so every word would wait
 * for the next, and the first token with it.
 */
export const streamDetectors: readonly DetectorName[] = allDetectors.filter(
  (name) => name !== 'email',
);
