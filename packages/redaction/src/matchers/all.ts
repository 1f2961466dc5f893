import type { Matcher } from '../matcher.ts';
import { authorization } from './authorization.ts';
import { card } from './card.ts';
import { email } from './email.ts';
import { jwt } from './jwt.ts';
import { prefixedKeys } from './prefixed-key.ts';
import { privateKey } from './private-key.ts';
import { secretValue } from './secret-value.ts';
import { urlPassword } from './url-password.ts';

/** In order of precedence where two begin at the same character. */
export const matchers: readonly Matcher[] = [
  privateKey,
  jwt,
  authorization,
  ...prefixedKeys,
  urlPassword,
  secretValue,
  card,
  email,
];
