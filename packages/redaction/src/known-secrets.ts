const MASK = '[masked:key]';

/** Encodings of anything shorter also stand for harmless text. */
const MIN_ENCODED_CHARS = 8;

/** Masks secrets that the caller knows, also as the encodings in which a peer may repeat them. */
export function maskKnown(text: string, secrets: readonly string[]): string {
  let masked = text;
  for (const form of secrets.flatMap(formsOf)) masked = masked.replaceAll(form, MASK);
  return masked;
}

/** The longest first: a form may contain another one. */
function formsOf(secret: string): readonly string[] {
  if (secret === '') return [];
  if (secret.length < MIN_ENCODED_CHARS) return [secret];
  const base64 = [0, 1, 2].map((offset) => base64At(secret, offset));
  const forms = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret.toWellFormed()),
    Buffer.from(secret).toString('hex'),
    ...base64,
    ...base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_')),
  ];
  return [...new Set(forms)].sort((one, other) => other.length - one.length);
}

/** What is the same in every base64 text that holds the secret behind so many other bytes, modulo 3. */
function base64At(secret: string, offset: number): string {
  const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]);
  const whole = Math.floor((bytes.length * 8) / 6);
  return bytes.toString('base64').slice(offset === 0 ? 0 : offset + 1, whole);
}
